"""Agents with memory, and Knowledge Bases.

Nobody made agents or knowledge bases here: any well-formed id is that of the one there is.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from awsai import prompts, tokens
from awsai.emulator import paging
from awsai.emulator.account import Account, Call, Events, Handler, Output
from awsai.emulator.catalogue import Guardrail
from awsai.emulator.errors import invalid
from awsai.emulator.handlers import conversation, guarding
from awsai.emulator.handlers.guarding import Verdict
from awsai.ports import Answer, Excerpt, Memory

RESULTS = 5
MEMORIES = 50
SOURCES_A_QUERY = 100  # Rerank bills every begun hundred documents as a query
_UNSERVED = frozenset({"filter", "implicitFilterConfiguration", "rerankingConfiguration"})


def handlers(account: Account) -> Mapping[str, Handler]:
    agents, knowledge = Agents(account), KnowledgeBases(account)
    return {
        "InvokeAgent": agents.invoke_agent,
        "GetAgentMemory": agents.get_agent_memory,
        "DeleteAgentMemory": agents.delete_agent_memory,
        "Retrieve": knowledge.retrieve,
        "RetrieveAndGenerate": knowledge.retrieve_and_generate,
        "Rerank": knowledge.rerank,
    }


class Agents:
    def __init__(self, account: Account) -> None:
        self._account = account

    def invoke_agent(self, call: Call) -> Output:
        params = call.params
        if "inputText" not in params and not params.get("endSession"):
            raise invalid("inputText is required unless the session ends.")
        if "returnControlInvocationResults" in params.get("sessionState", {}):
            raise invalid("The agent here has no actions, so it waits for no results.")
        text, facts = prompts.heard(params.get("inputText", ""))
        answer = self._account.provider.assistant().say(
            text,
            session_id=params["sessionId"],
            # Without a memory an agent knows its session alone.
            memory_id=params.get("memoryId") or f"session:{params['sessionId']}"[:100],
            facts=facts,
            ends_session=params.get("endSession", False),
        )
        usage = {
            "inputTokens": tokens.estimate(params.get("inputText", "")),
            "outputTokens": tokens.estimate(answer.text),
        }
        call.entry.model_invoked = self._model()
        call.entry.bill(tokens={"input": usage["inputTokens"], "output": usage["outputTokens"]})
        return {
            "completion": self._events(call, answer, usage),
            "contentType": "application/json",
            "sessionId": params["sessionId"],
            "memoryId": params.get("memoryId"),
        }

    def get_agent_memory(self, call: Call) -> Output:
        memory_id = call.params["memoryId"]
        start, size = paging.offset(call.params), call.params.get("maxItems", MEMORIES)
        # One more than is asked for shows whether there are more.
        recalled = self._account.provider.assistant().recall(
            memory_id=memory_id, limit=start + size + 1
        )
        memories, following = paging.page(recalled.memories, start, size)
        contents = [{"sessionSummary": _summary(memory_id, memory)} for memory in memories]
        return {"memoryContents": contents, "nextToken": following}

    def delete_agent_memory(self, call: Call) -> Output:
        if "memoryId" not in call.params:
            raise invalid("memoryId is required.")
        self._account.provider.assistant().forget(
            memory_id=call.params["memoryId"], session_id=call.params.get("sessionId", "")
        )
        return {}

    def _events(self, call: Call, answer: Answer, usage: Mapping[str, int]) -> Events:
        if call.params.get("enableTrace"):
            trace_id = uuid.uuid4().hex[:16]
            asked = {"traceId": trace_id, "foundationModel": call.entry.model_invoked}
            if asked["foundationModel"]:
                yield "trace", self._trace(call, modelInvocationInput=asked)
            told = {
                "traceId": trace_id,
                "rawResponse": {"content": answer.text},
                "metadata": {"usage": usage},
            }
            yield "trace", self._trace(call, modelInvocationOutput=told)
        yield "chunk", {"bytes": answer.text.encode(errors="replace")}

    def _trace(self, call: Call, **step: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "agentId": call.params["agentId"],
            "agentAliasId": call.params["agentAliasId"],
            "sessionId": call.params["sessionId"],
            "eventTime": self._account.clock(),
            "trace": {"orchestrationTrace": step},
        }

    def _model(self) -> str:
        """The model the agent asks: of those that live, the last, which is the smallest."""
        lives = [one for one in self._account.models if one.end_of_life_at is None]
        return lives[-1].id if lives else ""


class KnowledgeBases:
    def __init__(self, account: Account) -> None:
        self._account = account

    def retrieve(self, call: Call) -> Output:
        params = call.params
        query = params["retrievalQuery"].get("text")
        if not query:
            raise invalid("Only queries of text are read here.")
        limit = _limit(params.get("retrievalConfiguration", {}))
        guardrail = self._guardrail(params.get("guardrailConfiguration"))
        if guardrail and not self._check(call, guardrail, query, "input").is_allowed:
            return {"retrievalResults": [], "guardrailAction": "INTERVENED"}
        found = self._account.provider.retriever().retrieve(query, limit=limit).found
        return {
            "retrievalResults": [_reference(one) | {"score": one.score} for one in found],
            "guardrailAction": "NONE" if guardrail else None,
        }

    def retrieve_and_generate(self, call: Call) -> Output:
        config = call.params.get("retrieveAndGenerateConfiguration", {}).get(
            "knowledgeBaseConfiguration"
        )
        if config is None:
            raise invalid("Only answers from a knowledge base are served here.")
        conversation.model_for(self._account, call, config["modelArn"])
        generation = config.get("generationConfiguration", {})
        text, cited, action = self._generate(
            call,
            call.params["input"]["text"],
            limit=_limit(config.get("retrievalConfiguration", {})),
            guardrail=self._guardrail(generation.get("guardrailConfiguration")),
        )
        return {
            "sessionId": call.params.get("sessionId") or str(uuid.uuid4()),
            "output": {"text": text},
            "citations": [_citation(text, cited)] if cited else [],
            "guardrailAction": action,
        }

    def rerank(self, call: Call) -> Output:
        params = call.params
        config = params["rerankingConfiguration"]["bedrockRerankingConfiguration"]
        call.entry.model_requested = config["modelConfiguration"]["modelArn"]
        query = params["queries"][0]["textQuery"].get("text", "")
        texts = [_source_text(one["inlineDocumentSource"]) for one in params["sources"]]
        ranking = self._account.provider.retriever().rerank(
            query, texts, limit=config.get("numberOfResults", len(texts))
        )
        call.entry.bill(units={"query": -(-len(texts) // SOURCES_A_QUERY)})
        return {
            "results": [{"index": index, "relevanceScore": score} for index, score in ranking.order]
        }

    def _generate(
        self, call: Call, query: str, *, limit: int, guardrail: Guardrail | None
    ) -> tuple[str, Sequence[Excerpt], str | None]:
        """The text, what it cites, and what the guardrail did if there is one."""
        if guardrail and not self._check(call, guardrail, query, "input").is_allowed:
            return guardrail.blocked_input, (), "INTERVENED"
        answer = self._account.provider.retriever().answer(query, limit=limit)
        asked = query + "".join(one.text for one in answer.cited)
        call.entry.bill(
            tokens={"input": tokens.estimate(asked), "output": tokens.estimate(answer.text)}
        )
        if guardrail is None:
            return answer.text, answer.cited, None
        verdict = self._check(call, guardrail, answer.text, "output")
        if not verdict.is_allowed:
            return guardrail.blocked_output, (), "INTERVENED"
        action = "INTERVENED" if verdict.intervenes else "NONE"
        return verdict.texts[0], answer.cited, action

    def _guardrail(self, config: Mapping[str, str] | None) -> Guardrail | None:
        if config is None:
            return None
        return self._account.guardrail(config["guardrailId"], config["guardrailVersion"])

    def _check(
        self, call: Call, guardrail: Guardrail, text: str, direction: Literal["input", "output"]
    ) -> Verdict:
        return guarding.check(self._account, call, guardrail, [text], direction=direction)


def _limit(config: Mapping[str, Mapping[str, Any]]) -> int:
    """How many results are wanted. What would change which are found is not ignored: it is refused."""
    search = config.get("vectorSearchConfiguration", config.get("managedSearchConfiguration", {}))
    if unserved := _UNSERVED & search.keys():
        raise invalid(f"{', '.join(sorted(unserved))} cannot be served here.")
    return int(search.get("numberOfResults", RESULTS))


def _reference(excerpt: Excerpt) -> dict[str, Any]:
    metadata = {
        "x-amz-bedrock-kb-chunk-id": excerpt.id,
        "x-amz-bedrock-kb-source-uri": excerpt.uri,
        "title": excerpt.title,
    }
    return {
        "content": {"type": "TEXT", "text": excerpt.text},
        "location": _location(excerpt),
        "metadata": {name: text for name, text in metadata.items() if text},
    }


def _location(excerpt: Excerpt) -> dict[str, Any]:
    if excerpt.uri.startswith("s3://"):
        return {"type": "S3", "s3Location": {"uri": excerpt.uri}}
    if excerpt.uri.startswith(("http://", "https://")):
        return {"type": "WEB", "webLocation": {"url": excerpt.uri}}
    return {"type": "CUSTOM", "customDocumentLocation": {"id": excerpt.uri or excerpt.id}}


def _citation(text: str, cited: Sequence[Excerpt]) -> dict[str, Any]:
    """One citation for the whole text: which words rest on which excerpt is not told."""
    span = {"start": 0, "end": max(0, len(text) - 1)}
    return {
        "generatedResponsePart": {"textResponsePart": {"text": text, "span": span}},
        "retrievedReferences": [_reference(excerpt) for excerpt in cited],
    }


def _source_text(document: Mapping[str, Any]) -> str:
    if document["type"] == "JSON":
        return json.dumps(document.get("jsonDocument"), ensure_ascii=False)
    return str(document.get("textDocument", {}).get("text", ""))


def _summary(memory_id: str, memory: Memory) -> dict[str, Any]:
    return {
        "memoryId": memory_id,
        "sessionId": memory.session_id,
        "summaryText": memory.summary,
        "sessionStartTime": memory.at,
    }
