"""Agents for Bedrock with memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awsai import prompts
from awsai.ports import (
    Answer,
    CallFailed,
    Memory,
    Passage,
    ProviderName,
    Recollection,
    Served,
    Trouble,
)
from awsai.providers.aws import errors, hooks
from awsai.providers.aws.calls import merged
from awsai.providers.aws.configuration import required
from awsai.providers.aws.endpoint import Endpoint
from awsai.providers.aws.streams import LedgeredStream

MOST_MEMORIES = 1000


class AgentAssistant:
    def __init__(self, *, provider: ProviderName) -> None:
        self._provider = provider
        self._endpoint = Endpoint(
            service="bedrock-agent-runtime", product="bedrock-agents", provider=provider
        )

    def say(
        self,
        text: str,
        *,
        session_id: str,
        memory_id: str,
        facts: Sequence[Passage] = (),
        ends_session: bool = False,
    ) -> Answer:
        told = self._endpoint.call(
            "invoke_agent",
            **self._agent(),
            sessionId=session_id,
            memoryId=memory_id,
            inputText=prompts.said(text, facts),
            endSession=ends_session,
            # An agent tells its tokens in its trace alone.
            enableTrace=True,
        )
        stream: LedgeredStream = told["completion"]
        written = bytearray()
        with errors.translated(self._endpoint.product), stream:
            for event in stream:
                written += event.get("chunk", {}).get("bytes", b"")
                if "returnControl" in event:
                    # Its tools are ours to run, and none are offered.
                    raise CallFailed(
                        Trouble.REFUSED,
                        "The agent asks for an action that is not offered to it.",
                        code="returnControl",
                        service=self._endpoint.product,
                    )
        if stream.served is None:
            raise CallFailed(Trouble.BROKEN, "The answer broke off.", service="bedrock-agents")
        return Answer(
            text=written.decode("utf-8", "replace"),
            # The service tells no reason; a stream that came to its end has ended the turn.
            stop_reason="end_turn",
            served=stream.served,
        )

    def recall(self, *, memory_id: str, limit: int = 10) -> Recollection:
        request: dict[str, Any] = {
            **self._agent(),
            "memoryId": memory_id,
            "memoryType": "SESSION_SUMMARY",
            "maxItems": max(1, min(limit, MOST_MEMORIES)),
        }
        answers = [self._endpoint.call("get_agent_memory", **request)]
        memories = _memories(answers[-1])
        while (token := answers[-1].get("nextToken")) and len(memories) < limit:
            answers.append(self._endpoint.call("get_agent_memory", **request, nextToken=token))
            memories += _memories(answers[-1])
        return Recollection(
            memories=tuple(memories[:limit]),
            served=merged(*(hooks.served(told) for told in answers)),
        )

    def forget(self, *, memory_id: str, session_id: str = "") -> Served:
        session = {"sessionId": session_id} if session_id else {}
        told = self._endpoint.call(
            "delete_agent_memory", **self._agent(), memoryId=memory_id, **session
        )
        return hooks.served(told)

    def _agent(self) -> dict[str, str]:
        return {
            "agentId": required("AWS_AGENT_ID", provider=self._provider),
            "agentAliasId": required("AWS_AGENT_ALIAS_ID", provider=self._provider),
        }


def _memories(told: dict[str, Any]) -> list[Memory]:
    summaries = [one["sessionSummary"] for one in told.get("memoryContents", ())]
    return [
        Memory(
            session_id=summary.get("sessionId", ""),
            summary=summary.get("summaryText", ""),
            at=summary.get("sessionStartTime"),
        )
        for summary in summaries
    ]
