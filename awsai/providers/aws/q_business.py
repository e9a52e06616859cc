"""Q Business: SearchRelevantContent and ChatSync."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from awsai import purpose
from awsai.ports import CallFailed, CitedAnswer, Excerpt, Excerpts, ProviderName, Ranking, Trouble
from awsai.providers.aws import hooks
from awsai.providers.aws.configuration import required
from awsai.providers.aws.endpoint import Endpoint

# Q tells how sure it is in words; the numbers only put them in order.
_SCORES = {"VERY_HIGH": 1.0, "HIGH": 0.75, "MEDIUM": 0.5, "LOW": 0.25}
MOST_RESULTS = 100


class QBusiness:
    """One conversation: what is asked next continues what was answered before."""

    def __init__(self, *, provider: ProviderName) -> None:
        self._provider = provider
        self._endpoint = Endpoint(
            service="qbusiness",
            product="q-business",
            provider=provider,
            region=settings.AWS_Q_REGION,
        )
        self._before: dict[str, str] = {}

    def retrieve(self, query: str, *, limit: int = 5) -> Excerpts:
        told = self._endpoint.call(
            "search_relevant_content",
            applicationId=required("AWS_Q_APPLICATION_ID", provider=self._provider),
            queryText=query,
            contentSource={
                "retriever": {
                    "retrieverId": required("AWS_Q_RETRIEVER_ID", provider=self._provider)
                }
            },
            maxResults=max(1, min(limit, MOST_RESULTS)),
        )
        found = [_excerpt(one, n) for n, one in enumerate(told.get("relevantContent", ()))]
        found.sort(key=lambda excerpt: -excerpt.score)
        return Excerpts(found=tuple(found[:limit]), served=hooks.served(told))

    def answer(self, query: str, *, limit: int = 5) -> CitedAnswer:
        told = self._endpoint.call(
            "chat_sync",
            applicationId=required("AWS_Q_APPLICATION_ID", provider=self._provider),
            userMessage=query,
            chatMode="RETRIEVAL_MODE",
            **self._before,
            **self._token(query),
        )
        if "authChallengeRequest" in told:
            raise CallFailed(
                Trouble.DENIED,
                "Q Business asks its user to sign in.",
                code="AuthChallenge",
                service="q-business",
            )
        self._before = {
            "conversationId": told["conversationId"],
            "parentMessageId": told["systemMessageId"],
        }
        sources = told.get("sourceAttributions", ())
        return CitedAnswer(
            text=told.get("systemMessage", ""),
            cited=tuple(_source(one, n) for n, one in enumerate(sources))[:limit],
            served=hooks.served(told),
        )

    def rerank(self, query: str, texts: Sequence[str], *, limit: int = 10) -> Ranking:
        raise CallFailed(Trouble.REFUSED, "Q Business does not rank texts.", service="q-business")

    def _token(self, query: str) -> dict[str, str]:
        """What makes a task that runs twice ask once. Outside of a run botocore draws one."""
        run = purpose.current().run_ref
        if not run:
            return {}
        words = "\0".join([run, *self._before.values(), query])
        return {"clientToken": hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()}


def _excerpt(content: Mapping[str, Any], number: int) -> Excerpt:
    confidence = content.get("scoreAttributes", {}).get("scoreConfidence", "")
    return Excerpt(
        id=content.get("documentId", f"result-{number}"),
        text=content.get("content", ""),
        title=content.get("documentTitle", ""),
        uri=content.get("documentUri", ""),
        score=_SCORES.get(confidence, 0.0),
    )


def _source(source: Mapping[str, Any], number: int) -> Excerpt:
    uri = source.get("url", "")
    return Excerpt(
        id=source.get("documentId") or uri or f"source-{source.get('citationNumber', number)}",
        text=source.get("snippet", ""),
        title=source.get("title", ""),
        uri=uri,
        # Sources are told in their order, without scores.
        score=1.0 / (1 + number),
    )
