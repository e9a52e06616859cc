"""A JSON schema, filled with what passages say. Pure.

Strings are sentences of the passages; numbers and enum members must be named by a passage; ids are
those of the passages the sentences came from. A figure of confidence is the ranking's score: it
says how much a sentence stands out among those at hand, not how likely it is to be true. What the
passages do not say stays out where the schema allows, and else is said to be unknown.

Which sentence suits which property is told by the property's words and by cue words (Edmundson,
New Methods in Automatic Extracting, JACM 16, 1969).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import re2

from awsai import schemas
from awsai.providers.local.ranking import WORTH_SAYING, Evidence, Sentence
from awsai.providers.local.words import listed

LONGEST_STRING = 600
SHORTEST_STRING = 8  # a shortened sentence says nothing below that
RELATED = 0.1

# A property called so asks for nothing in particular, so the best sentences answer it.
GENERAL = listed(
    """
    abstract answer argument body claim claims comment content description detail details evidence
    explanation fact facts finding findings headline highlight highlights hypotheses hypothesis
    input items key lesson lessons main message narrative note notes observation observations
    overview point points quote quotes rationale reason reasoning reasons report sentence sentences
    statement statements subject summary symptom symptoms text title update updates
    """
)
CUES: Mapping[str, str] = {
    "cause": "because cause caused causing due root triggered introduced",
    "impact": "affected impact impacted customers users failed failing errors unavailable degraded",
    "action": "should must restart rollback roll back scale failover revert disable check verify",
    "mitigation": "restart rollback roll back scale failover revert disable mitigated",
    "resolution": "resolved recovered restored fixed reverted restarted mitigated",
    "trend": "rising falling increased decreased rose fell growing forecast",
    "risk": "risk could might may forecast exhausted breach",
}
_SAME_CUES = {
    "causes": "cause",
    "affected": "impact",
    "actions": "action",
    "remediation": "action",
    "recommendation": "action",
    "recommendations": "action",
    "steps": "action",
    "fix": "resolution",
    "outlook": "trend",
    "prediction": "trend",
    "risks": "risk",
}
CONFIDENCE = frozenset(
    {"confidence", "score", "probability", "likelihood", "certainty", "relevance", "weight"}
)
ID_LISTS = frozenset(
    {"evidence", "evidences", "citations", "cited", "cites", "sources", "passages", "references"}
)
ID_NAMES = frozenset({"citation", "evidence_id", "passage", "passage_id", "source_id"})
UNKNOWN = ("unknown", "unclear", "undetermined", "uncertain", "inconclusive")
_GAPS = frozenset({"unknown", "unknowns", "unclear", "gaps", "missing", "questions"})
_SAYS_UNKNOWN = re2.compile(
    r"(?i)\b(?:unknown|unclear|undetermined|uncertain|not (?:yet )?known|no data|missing|unavailable)\b"
)
_WORDLIKE = re2.compile(r"[\pL\pN]")
_PART = re2.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


class Unfillable(Exception):
    """A required part of the schema cannot be filled from the passages."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """At most so many items in a list and sentences in a string that stands for itself."""

    items: int = 5
    sentences: int = 3


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A value, how many passages name it, and the best sentence that does."""

    member: str
    votes: int
    sentence: Sentence


@dataclass(kw_only=True)
class _Place:
    """Where a value stands: under which name, what is already said there, and who cites it.

    The items of a list share `taken`, so that each says something of its own.
    """

    taken: set[int]
    about: str = ""
    said: list[Sentence] = field(default_factory=list)
    has_ids: bool = False
    is_item: bool = False


def fill(schema: Mapping[str, Any], evidence: Evidence, limits: Limits) -> tuple[Any, list[str]]:
    """A valid value for the schema, and the ids of the passages it rests on.

    Raises:
        Unfillable: the schema asks for what no passage says.
    """
    place = _Place(taken=set())
    value = _Filler(evidence, limits).value("", schema, place)
    if faults := schemas.errors(value, schema):
        raise Unfillable("; ".join(faults))
    return value, _ids(place.said)


class _Filler:
    def __init__(self, evidence: Evidence, limits: Limits) -> None:
        self._evidence, self._limits = evidence, limits

    def value(self, name: str, schema: Mapping[str, Any], place: _Place) -> Any:
        """The first of the schema's types that can be filled, null last."""
        kinds = [kind for kind in _kinds(schema) if kind != "null"]
        trouble = Unfillable(f"{name or 'the answer'}: no value is allowed")
        for kind in kinds:
            try:
                return self._of_kind(kind, name, schema, place)
            except Unfillable as error:
                trouble = error
        if "null" in schemas.types(schema) and None in schema.get("enum", [None]):
            return None
        raise trouble

    def _of_kind(self, kind: str, name: str, schema: Mapping[str, Any], place: _Place) -> Any:
        match kind:
            case "object":
                return self._object(name, schema, place)
            case "array":
                return self._array(name, schema, place)
            case "string" if "enum" in schema:
                return self._member(name, schema["enum"], place)
            case "string":
                return self._string(name, schema, place)
            case "boolean":
                return self._boolean(name, place)
        return self._number(name, schema, place, is_whole=kind == "integer")

    # --- Objects and arrays

    def _object(self, name: str, schema: Mapping[str, Any], outer: _Place) -> dict[str, Any]:
        properties = schema.get("properties", {})
        place = _Place(
            taken=outer.taken,
            about=name or outer.about,
            has_ids=outer.has_ids or any(_is_id_list(*item) for item in properties.items()),
            is_item=outer.is_item,
        )
        # What is derived from the sentences of the object comes after them.
        order = sorted(properties, key=lambda part: _is_derived(part, properties[part]))
        filled: dict[str, Any] = {}
        for part in order:
            try:
                filled[part] = self.value(part, properties[part], place)
            except Unfillable:
                if part in schema.get("required", ()):
                    raise
        outer.said += place.said
        return {part: filled[part] for part in properties if part in filled}

    def _array(self, name: str, schema: Mapping[str, Any], outer: _Place) -> list[Any]:
        items, least = schema.get("items", {}), schema.get("minItems", 0)
        said: list[Sentence] = []
        if _is_id_list(name, schema):
            values: list[Any] = self._cited_ids(items, outer)[: schema.get("maxItems")]
        else:
            most = max(self._limits.items, least)
            most = min(most, schema.get("maxItems", most))
            values, said = self._items(name, items, most, outer)
        if len(values) < least:
            raise Unfillable(f"{name or 'the list'}: the passages give {len(values)} items")
        outer.said += said
        return values

    def _items(
        self, name: str, items: Mapping[str, Any], most: int, outer: _Place
    ) -> tuple[list[Any], list[Sentence]]:
        taken: set[int] = set()
        values: list[Any] = []
        said: list[Sentence] = []
        while len(values) < most:
            place = _Place(taken=taken, about=outer.about, has_ids=outer.has_ids, is_item=True)
            try:
                value = self._item(name, items, values, place)
            except Unfillable:
                break
            # An item that rests on no sentence would only say again that nothing is known.
            if not place.said or value in values:
                break
            values.append(value)
            said += place.said
        return values, said

    def _item(self, name: str, items: Mapping[str, Any], before: list[Any], place: _Place) -> Any:
        if "enum" in items:
            left = [member for member in items["enum"] if member not in before]
            return self._first_named(name, self._named(name, left), place)
        return self.value(name, items, place)

    def _cited_ids(self, items: Mapping[str, Any], place: _Place) -> list[str]:
        allowed = items.get("enum")
        return [id_ for id_ in _ids(place.said) if allowed is None or id_ in allowed]

    # --- Strings

    def _string(self, name: str, schema: Mapping[str, Any], place: _Place) -> str:
        if name.lower() in ID_NAMES:
            return self._cited_id(name, place)
        room = min(schema.get("maxLength", LONGEST_STRING), LONGEST_STRING)
        least = schema.get("minLength", 0)
        text = self._prose(name, schema, place, least=least, room=max(room, least))
        if text is None:
            text = f"Nothing is known about {_spoken(name)}."
            if not least <= len(text) <= schema.get("maxLength", len(text)):
                raise Unfillable(f"{name or 'the answer'}: no passage speaks of it")
        return text

    def _cited_id(self, name: str, place: _Place) -> str:
        if not place.said:
            raise Unfillable(f"{name}: no passage is cited")
        return place.said[0].passages[0]

    def _prose(
        self, name: str, schema: Mapping[str, Any], place: _Place, *, least: int, room: int
    ) -> str | None:
        """Whole sentences as far as they fit, or the best one shortened; None when there is none."""
        candidates = self._candidates(name, schema, place)
        wanted = 1 if place.is_item else self._limits.sentences
        floor = max((one.score for one in candidates[:1]), default=0.0) * WORTH_SAYING
        chosen: list[Sentence] = []
        for sentence in candidates:
            is_enough = len(chosen) >= wanted or sentence.score < floor
            if is_enough and len(_joined(chosen, place.has_ids)) >= least:
                break
            if len(_joined([*chosen, sentence], place.has_ids)) <= room:
                chosen.append(sentence)
        if not chosen:
            return self._part(candidates, place, least=least, room=room)
        text = _joined(sorted(chosen, key=lambda one: one.place), place.has_ids)
        if len(text) < least:
            return None
        self._say(chosen, place)
        return text

    def _part(
        self, candidates: list[Sentence], place: _Place, *, least: int, room: int
    ) -> str | None:
        for sentence in candidates:
            text = _shortened(sentence, room, place.has_ids)
            if text and len(text) >= least:
                self._say([sentence], place)
                return text
        return None

    def _say(self, sentences: list[Sentence], place: _Place) -> None:
        place.taken |= {sentence.place for sentence in sentences}
        place.said += sentences

    def _candidates(self, name: str, schema: Mapping[str, Any], place: _Place) -> list[Sentence]:
        free = [
            one for one in self._evidence.best if not place.is_item or one.place not in place.taken
        ]
        # A `text` among the `next_steps` is about next steps.
        words = next((words for n in (name, place.about) if (words := _specific(n))), [])
        if place.is_item and place.said:
            # A second string of an item goes on about what its first one said.
            first = place.said[0]
            alike = {one.place: self._evidence.similarity(first, one) for one in free}
            free = [one for one in free if alike[one.place] >= RELATED]
            return sorted(free, key=lambda one: -alike[one.place])
        if _GAPS.intersection(words):
            return [one for one in free if _SAYS_UNKNOWN.search(one.text)]
        if not words:
            return free
        cues = " ".join(CUES.get(_SAME_CUES.get(word, word), "") for word in words)
        about = self._evidence.matching(
            f"{' '.join(words)} {schema.get('title', '')} {schema.get('description', '')} {cues}"
        )
        suited = [one for one in free if one.place in about]
        top = max(about.values(), default=1.0)
        return sorted(suited, key=lambda one: -(one.score + about[one.place] / top))

    # --- What a passage must name

    def _member(self, name: str, members: list[Any], place: _Place) -> Any:
        """The member that passages name, else the schema's word for unknown.

        One vote a passage, so that one that repeats itself gains nothing. Where as many passages
        say one thing as another, it is unknown too; a schema without that word gets the member
        that is named in the better sentence.
        """
        unknown = [member for member in members if _is_unknown(member)]
        ranked = self._named(name, members)
        if unknown and _is_tied(ranked):
            return unknown[0]
        return self._first_named(name, ranked, place)

    def _first_named(self, name: str, ranked: list[_Named], place: _Place) -> str:
        if not ranked:
            raise Unfillable(f"{name or 'the answer'}: no passage names one of its values")
        place.said.append(ranked[0].sentence)
        return ranked[0].member

    def _named(self, name: str, members: list[Any]) -> list[_Named]:
        """The members that stand in sentences, beside the property's own name if any does so."""
        sentences = self._evidence.sentences
        if name:
            label = _pattern(_spoken(name))
            beside = [one for one in sentences if label.search(one.text)]
            if found := _votes(members, beside):
                return found
        return _votes(members, sentences)

    def _number(
        self, name: str, schema: Mapping[str, Any], place: _Place, *, is_whole: bool
    ) -> float | int:
        if CONFIDENCE.intersection(_words(name)):
            return _confidence(schema, place.said, is_whole=is_whole)
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        for named in self._assigned(name, r"-?\d+(?:\.\d+)?"):
            value = float(named.member)
            is_allowed = "enum" not in schema or value in schema["enum"]
            if low <= value <= high and is_allowed and (value.is_integer() or not is_whole):
                place.said.append(named.sentence)
                return int(value) if is_whole else value
        raise Unfillable(f"{name or 'the answer'}: no passage gives this figure")

    def _boolean(self, name: str, place: _Place) -> bool:
        for named in self._assigned(name, "(?:true|false)"):
            place.said.append(named.sentence)
            return named.member.lower() == "true"
        raise Unfillable(f"{name or 'the answer'}: no passage says true or false")

    def _assigned(self, name: str, value: str) -> list[_Named]:
        """What stands after the property's name and a colon or an equals sign, as votes."""
        if not name:
            return []
        pattern = re2.compile(
            rf"""(?i)(?:^|[^\pL\pN_]){_escaped(_spoken(name))}["']?\s*[:=]\s*["']?({value})"""
            r"(?:[^\pL\pN_.]|\.?$)"
        )
        naming: dict[str, list[Sentence]] = {}
        for one in self._evidence.sentences:
            if match := pattern.search(one.text):
                naming.setdefault(match.group(1), []).append(one)
        return _ranked(naming)


def _votes(members: list[Any], sentences: Sequence[Sentence]) -> list[_Named]:
    """The members that are named, those with most votes first."""
    patterns = {
        member: _pattern(member)
        for member in members
        if isinstance(member, str) and not _is_unknown(member) and _WORDLIKE.search(member)
    }
    return _ranked(
        {
            member: [one for one in sentences if pattern.search(one.text)]
            for member, pattern in patterns.items()
        }
    )


def _ranked(naming: Mapping[str, Sequence[Sentence]]) -> list[_Named]:
    """By the number of passages that name a value, then by the best sentence that does."""
    found = [
        _Named(
            member=member,
            votes=len(_ids(sentences)),
            sentence=max(sentences, key=lambda one: (one.score, -one.place)),
        )
        for member, sentences in naming.items()
        if sentences
    ]
    return sorted(found, key=lambda one: (-one.votes, -one.sentence.score, one.sentence.place))


def _is_tied(ranked: list[_Named]) -> bool:
    """Whether nothing stands out: no member is named, or two are by as many passages."""
    return not ranked or (len(ranked) > 1 and ranked[0].votes == ranked[1].votes)


def _is_unknown(member: Any) -> bool:
    return isinstance(member, str) and member.lower() in UNKNOWN


def _kinds(schema: Mapping[str, Any]) -> tuple[str, ...]:
    if "type" in schema:
        return schemas.types(schema)
    if "properties" in schema:
        return ("object",)
    return ("array",) if "items" in schema else ("string",)


def _is_id_list(name: str, schema: Mapping[str, Any]) -> bool:
    if "array" not in _kinds(schema) or "string" not in _kinds(schema.get("items", {})):
        return False
    return name.lower() in ID_LISTS or _words(name)[-1:] == ["ids"]


def _specific(name: str) -> list[str]:
    """The words of a name that asks for something in particular; else none."""
    words = _words(name)
    return [] if GENERAL.intersection(words) else words


def _is_derived(name: str, schema: Mapping[str, Any]) -> bool:
    is_figure = bool(CONFIDENCE.intersection(_words(name)))
    return _is_id_list(name, schema) or name.lower() in ID_NAMES or is_figure


def _ids(sentences: Iterable[Sentence]) -> list[str]:
    return list(dict.fromkeys(id_ for sentence in sentences for id_ in sentence.passages))


def _words(name: str) -> list[str]:
    return [part.lower() for part in _PART.findall(name)]


def _spoken(name: str) -> str:
    return " ".join(_words(name)) or "this"


def _escaped(words: str) -> str:
    return r"[\s_-]?".join(
        re2.escape(word) for word in words.replace("_", " ").replace("-", " ").split()
    )


def _pattern(words: str) -> Any:
    return re2.compile(rf"(?i)(?:^|[^\pL\pN_]){_escaped(words)}(?:[^\pL\pN_]|$)")


def cited(sentence: Sentence) -> str:
    """The sentence with its (first) passage; its own square brackets are round, or it could cite."""
    return f"{sentence.text.replace('[', '(').replace(']', ')')} [{sentence.passages[0]}]"


def _joined(sentences: list[Sentence], has_ids: bool) -> str:
    return " ".join(one.text if has_ids else cited(one) for one in sentences)


def _shortened(sentence: Sentence, room: int, has_ids: bool) -> str:
    """The beginning of a sentence, cut between words, with its citation; empty when nothing fits."""
    text, citation = sentence.text, ""
    if not has_ids:
        text, _, last = cited(sentence).rpartition(" [")
        citation = f" [{last}"
    space = room - len(citation) - 1
    if space < SHORTEST_STRING:
        return ""
    cut = text[: space + 1].rsplit(" ", 1)[0][:space].rstrip(" ,;:")
    return f"{cut}…{citation}"


def _confidence(schema: Mapping[str, Any], said: list[Sentence], *, is_whole: bool) -> float | int:
    """The mean score of what was said, on the schema's scale ([0, 1] if it has none); 0 for nothing."""
    low = schema.get("minimum", 0)
    high = schema.get("maximum", low + 1)
    score = sum(one.score for one in said) / len(said) if said else 0.0
    value = low + score * (high - low)
    return int(value) if is_whole else min(high, max(low, round(value, 3)))
