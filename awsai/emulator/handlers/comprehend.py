"""Amazon Comprehend: sentiment, entities, key phrases and PII, singly and in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from awsai.emulator.account import Account, Call, Handler, Output
from awsai.emulator.errors import AwsError
from awsai.emulator.operations import service_model
from awsai.ports import Sentiment, Sentiments, Span, Spans, TextAnalyst

MAX_BYTES = 5_000
MAX_PII_BYTES = 100_000
MAX_BATCH = 25
LANGUAGE = "en"  # of the providers behind the port

_CHARACTERS_A_UNIT = 100
_MINIMUM_UNITS = 3

Results = Sentiments | Spans
Analyse = Callable[[Sequence[str]], Results]
Describe = Callable[[Any], dict[str, Any]]


def handlers(account: Account) -> Mapping[str, Handler]:
    comprehend = Comprehend(account)
    return {
        "DetectSentiment": comprehend.detect_sentiment,
        "DetectEntities": comprehend.detect_entities,
        "DetectKeyPhrases": comprehend.detect_key_phrases,
        "DetectPiiEntities": comprehend.detect_pii_entities,
        "BatchDetectSentiment": comprehend.batch_detect_sentiment,
        "BatchDetectEntities": comprehend.batch_detect_entities,
        "BatchDetectKeyPhrases": comprehend.batch_detect_key_phrases,
    }


class Comprehend:
    def __init__(self, account: Account) -> None:
        self._account = account

    def detect_sentiment(self, call: Call) -> Output:
        return _single(call, self._analyst.sentiments, _sentiment)

    def detect_entities(self, call: Call) -> Output:
        if "Text" not in call.params or "LanguageCode" not in call.params:
            raise AwsError("InvalidRequestException", "Only Text with a LanguageCode is read here.")
        return _single(call, self._analyst.entities, _entities)

    def detect_key_phrases(self, call: Call) -> Output:
        return _single(call, self._analyst.key_phrases, _key_phrases)

    def detect_pii_entities(self, call: Call) -> Output:
        analyst = self._analyst
        return _single(
            call, lambda texts: analyst.pii(texts[0]), _pii_entities, max_bytes=MAX_PII_BYTES
        )

    def batch_detect_sentiment(self, call: Call) -> Output:
        return _batch(call, self._analyst.sentiments, _sentiment)

    def batch_detect_entities(self, call: Call) -> Output:
        return _batch(call, self._analyst.entities, _entities)

    def batch_detect_key_phrases(self, call: Call) -> Output:
        return _batch(call, self._analyst.key_phrases, _key_phrases)

    @property
    def _analyst(self) -> TextAnalyst:
        return self._account.provider.text_analyst()


def units(text: str) -> int:
    """What a text is billed as: begun hundreds of characters, at least three."""
    return max(_MINIMUM_UNITS, -(-len(text) // _CHARACTERS_A_UNIT))


def _single(
    call: Call, analyse: Analyse, describe: Describe, *, max_bytes: int = MAX_BYTES
) -> Output:
    _check_language(call)
    text: str = call.params["Text"]
    if (size := len(text.encode(errors="replace"))) > max_bytes:
        raise AwsError("TextSizeLimitExceededException", _too_long(size, max_bytes))
    found = analyse([text])
    result = found.results[0]
    if result is None:
        raise AwsError("InvalidRequestException", found.errors[0])
    call.entry.bill(units={"chars100": units(text)})
    return describe(result)


def _batch(call: Call, analyse: Analyse, describe: Describe) -> Output:
    """Every text for itself: one that cannot be analysed is in the ErrorList, and not billed."""
    _check_language(call)
    texts: list[str] = call.params["TextList"]
    if len(texts) > MAX_BATCH:
        raise AwsError(
            "BatchSizeLimitExceededException", f"A batch holds at most {MAX_BATCH} texts."
        )
    sizes = [len(text.encode(errors="replace")) for text in texts]
    errors = {
        index: ("TEXT_SIZE_LIMIT_EXCEEDED", _too_long(size, MAX_BYTES))
        for index, size in enumerate(sizes)
        if size > MAX_BYTES
    }
    short = [index for index in range(len(texts)) if index not in errors]
    found = analyse([texts[index] for index in short])
    results = []
    for place, index in enumerate(short):
        result = found.results[place]
        if result is None:
            errors[index] = ("INVALID_REQUEST", found.errors[place])
            continue
        results.append({"Index": index, **describe(result)})
        call.entry.bill(units={"chars100": units(texts[index])})
    return {
        "ResultList": results,
        "ErrorList": [
            {"Index": index, "ErrorCode": code, "ErrorMessage": message}
            for index, (code, message) in sorted(errors.items())
        ],
    }


def _check_language(call: Call) -> None:
    if (language := call.params["LanguageCode"]) != LANGUAGE:
        raise AwsError(
            "UnsupportedLanguageException", f"{language} is not supported; {LANGUAGE} is."
        )


def _too_long(size: int, limit: int) -> str:
    return (
        f"Input text size exceeds limit. Max length of request text allowed is {limit} bytes while "
        f"in this request the text size is {size} bytes"
    )


def _sentiment(found: Sentiment) -> dict[str, Any]:
    scores = {label.capitalize(): score for label, score in found.scores.items()}
    return {"Sentiment": found.label.upper(), "SentimentScore": scores}


def _entities(found: Sequence[Span]) -> dict[str, Any]:
    kinds = service_model("comprehend").shape_for("EntityType").enum
    return {
        "Entities": [
            {
                "Type": span.kind if span.kind in kinds else "OTHER",
                "Text": span.text,
                **_place(span),
            }
            for span in found
        ]
    }


def _key_phrases(found: Sequence[Span]) -> dict[str, Any]:
    return {"KeyPhrases": [{"Text": span.text, **_place(span)} for span in found]}


def _pii_entities(found: Sequence[Span]) -> dict[str, Any]:
    """Kinds that Comprehend has no word for are left out, as it does not look for them."""
    kinds = service_model("comprehend").shape_for("PiiEntityType").enum
    return {
        "Entities": [{"Type": span.kind, **_place(span)} for span in found if span.kind in kinds]
    }


def _place(span: Span) -> dict[str, Any]:
    return {"BeginOffset": span.begin, "EndOffset": span.end, "Score": span.score}
