"""Knowledge Bases: Retrieve, RetrieveAndGenerate and Rerank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from awsai.ports import CallFailed, CitedAnswer, Excerpt, Excerpts, ProviderName, Ranking, Trouble
from awsai.providers.aws import hooks
from awsai.providers.aws.calls import merged
from awsai.providers.aws.configuration import required
from awsai.providers.aws.endpoint import Endpoint

# The service refuses longer ones.
QUERY_CHARACTERS = 20_000
QUESTION_CHARACTERS = 1000
RERANKED_CHARACTERS = 32_000
MOST_RESULTS = 100


class KnowledgeBases:
    def __init__(self, *, provider: ProviderName) -> None:
        self._provider = provider
        self._endpoint = Endpoint(
            service="bedrock-agent-runtime", product="bedrock-knowledge-bases", provider=provider
        )

    def retrieve(self, query: str, *, limit: int = 5) -> Excerpts:
        told = self._endpoint.call(
            "retrieve",
            knowledgeBaseId=required("AWS_KNOWLEDGE_BASE_ID", provider=self._provider),
            retrievalQuery={"text": query[:QUERY_CHARACTERS]},
            retrievalConfiguration=_results(limit),
        )
        found = [_excerpt(result, n) for n, result in enumerate(told["retrievalResults"])]
        found.sort(key=lambda excerpt: -excerpt.score)
        return Excerpts(found=tuple(found[:limit]), served=hooks.served(told))

    def answer(self, query: str, *, limit: int = 5) -> CitedAnswer:
        configuration: dict[str, Any] = {
            "knowledgeBaseId": required("AWS_KNOWLEDGE_BASE_ID", provider=self._provider),
            "modelArn": required("AWS_KNOWLEDGE_MODEL_ARN", provider=self._provider),
            "retrievalConfiguration": _results(limit),
        }
        if settings.AWS_GUARDRAIL_ID:
            configuration["generationConfiguration"] = {
                "guardrailConfiguration": {
                    "guardrailId": settings.AWS_GUARDRAIL_ID,
                    "guardrailVersion": settings.AWS_GUARDRAIL_VERSION,
                }
            }
        told = self._endpoint.call(
            "retrieve_and_generate",
            input={"text": query[:QUESTION_CHARACTERS]},
            retrieveAndGenerateConfiguration={
                "type": "KNOWLEDGE_BASE",
                "knowledgeBaseConfiguration": configuration,
            },
        )
        if told.get("guardrailAction") == "INTERVENED" and not told.get("citations"):
            raise CallFailed(
                Trouble.BLOCKED,
                "The guardrail stopped the answer.",
                code="INTERVENED",
                service=self._endpoint.product,
            )
        references = [
            reference
            for citation in told.get("citations", ())
            for reference in citation.get("retrievedReferences", ())
        ]
        cited = {one.id: one for one in (_excerpt(ref, n) for n, ref in enumerate(references))}
        return CitedAnswer(
            text=told["output"]["text"], cited=tuple(cited.values()), served=hooks.served(told)
        )

    def rerank(self, query: str, texts: Sequence[str], *, limit: int = 10) -> Ranking:
        request = {
            "queries": [{"type": "TEXT", "textQuery": {"text": query[:RERANKED_CHARACTERS]}}],
            "sources": [_source(text[:RERANKED_CHARACTERS]) for text in texts],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "numberOfResults": max(1, min(limit, len(texts))),
                    "modelConfiguration": {
                        "modelArn": required("AWS_RERANK_MODEL_ARN", provider=self._provider)
                    },
                },
            },
        }
        answers = [self._endpoint.call("rerank", **request)]
        while token := answers[-1].get("nextToken"):
            answers.append(self._endpoint.call("rerank", **request, nextToken=token))
        order = [
            (result["index"], result["relevanceScore"])
            for told in answers
            for result in told["results"]
        ]
        order.sort(key=lambda pair: -pair[1])
        return Ranking(
            order=tuple(order[:limit]), served=merged(*(hooks.served(told) for told in answers))
        )


def _results(limit: int) -> dict[str, Any]:
    return {"vectorSearchConfiguration": {"numberOfResults": max(1, min(limit, MOST_RESULTS))}}


def _source(text: str) -> dict[str, Any]:
    return {
        "type": "INLINE",
        "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}},
    }


def _excerpt(result: Mapping[str, Any], number: int) -> Excerpt:
    """`number` names a result whose place in the knowledge base is not told."""
    metadata: Mapping[str, Any] = result.get("metadata", {})
    uri = _uri(result.get("location", {}))
    chunk = metadata.get("x-amz-bedrock-kb-chunk-id") or result.get("documentId")
    return Excerpt(
        id=str(chunk or f"{uri}#{number}"),
        text=result.get("content", {}).get("text", ""),
        title=str(metadata.get("title") or uri.rpartition("/")[2]),
        uri=uri,
        score=float(result.get("score", 0.0)),
    )


def _uri(location: Mapping[str, Any]) -> str:
    """Every kind of location has one member of its own, and that one a name of the place."""
    for place in location.values():
        if isinstance(place, dict):
            for name in ("uri", "url", "id"):
                if place.get(name):
                    return str(place[name])
    return ""
