"""Agents with memory, Knowledge Bases and Q Business."""

from __future__ import annotations

import uuid
from contextlib import closing

import pytest

from awsai import tokens
from awsai.emulator.emulator import Emulator
from tests.awsai.emulator.clients import HAIKU, ClientError, client, last

AGENT = {"agentId": "AGENT12345", "agentAliasId": "ALIAS12345"}
KNOWLEDGE = {"knowledgeBaseId": "KNOWLEDGE1"}
APPLICATION = {"applicationId": "a" * 36}


@pytest.fixture
def agents(emulator):
    return client(emulator, "bedrock-agent-runtime")


@pytest.fixture
def business(emulator):
    return client(emulator, "qbusiness")


def say(agents, text: str, session: str = "session-1", **more: object):
    response = agents.invoke_agent(
        **AGENT, sessionId=session, memoryId="memory-1", inputText=text, **more
    )
    with closing(response["completion"]) as stream:
        return response, list(stream)


# --- Agents ------------------------------------------------------------------------------------


def test_an_agent_answers_in_chunks_and_repeats_its_ids_in_headers(agents):
    response, events = say(agents, "hello")
    assert b"".join(event["chunk"]["bytes"] for event in events) == b"1: hello"
    assert (response["sessionId"], response["memoryId"]) == ("session-1", "memory-1")
    assert response["contentType"] == "application/json"


def test_the_trace_tells_the_model_and_the_tokens_that_are_billed(emulator, agents):
    _, events = say(agents, "hello", enableTrace=True)
    asked, told = (event["trace"]["trace"]["orchestrationTrace"] for event in events[:2])
    model = asked["modelInvocationInput"]["foundationModel"]
    assert model == last(emulator).model_invoked
    usage = told["modelInvocationOutput"]["metadata"]["usage"]
    assert usage == {
        "inputTokens": tokens.estimate("hello"),
        "outputTokens": tokens.estimate("1: hello"),
    }
    assert last(emulator).tokens == {
        "input": usage["inputTokens"],
        "output": usage["outputTokens"],
    }


def test_memories_are_recalled_in_parts_and_forgotten(agents):
    for number in range(3):
        say(agents, f"text {number}", session=f"session-{number}")
    asked = {**AGENT, "memoryId": "memory-1", "memoryType": "SESSION_SUMMARY"}
    first = agents.get_agent_memory(**asked, maxItems=2)
    rest = agents.get_agent_memory(**asked, maxItems=2, nextToken=first["nextToken"])
    found = [*first["memoryContents"], *rest["memoryContents"]]
    assert [one["sessionSummary"]["summaryText"] for one in found] == ["text 0", "text 1", "text 2"]
    assert "nextToken" not in rest

    agents.delete_agent_memory(**AGENT, memoryId="memory-1", sessionId="session-0")
    assert len(agents.get_agent_memory(**asked)["memoryContents"]) == 2
    status = agents.delete_agent_memory(**AGENT, memoryId="memory-1")["ResponseMetadata"]
    assert status["HTTPStatusCode"] == 202
    assert agents.get_agent_memory(**asked)["memoryContents"] == []


def test_an_agent_without_words_is_refused_unless_the_session_ends(agents):
    with pytest.raises(ClientError, match="inputText is required"):
        agents.invoke_agent(**AGENT, sessionId="session-1")
    response = agents.invoke_agent(**AGENT, sessionId="session-1", endSession=True)
    assert list(response["completion"])


def test_a_failing_agent_is_an_error_in_its_service_s_own_words(agents):
    with pytest.raises(agents.exceptions.DependencyFailedException):
        say(agents, "BROKEN")


def test_an_account_can_lack_agents_and_still_have_knowledge_bases(provider):
    closed = ["bedrock-agent-runtime.InvokeAgent"]
    with Emulator(provider, not_onboarded=closed) as emulator:
        agents = client(emulator, "bedrock-agent-runtime")
        with pytest.raises(agents.exceptions.AccessDeniedException):
            say(agents, "hello")
        assert agents.retrieve(**KNOWLEDGE, retrievalQuery={"text": "restart"})["retrievalResults"]


# --- Knowledge Bases ---------------------------------------------------------------------------


def test_what_is_retrieved_has_its_place_and_its_score(agents):
    results = agents.retrieve(**KNOWLEDGE, retrievalQuery={"text": "restart the pool"})[
        "retrievalResults"
    ]
    assert results[0]["content"]["text"] == "restart the connection pool of orders"
    assert results[0]["location"]["s3Location"]["uri"] == "s3://runbooks/pool.md"
    assert results[0]["metadata"]["title"] == "Restart the pool"
    assert [one["location"]["type"] for one in results] == ["S3", "WEB", "CUSTOM"]
    scores = [one["score"] for one in results]
    assert scores == sorted(scores, reverse=True)


def test_no_more_is_retrieved_than_was_asked_for(agents):
    results = agents.retrieve(
        **KNOWLEDGE,
        retrievalQuery={"text": "the"},
        retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": 1}},
    )["retrievalResults"]
    assert len(results) == 1


def test_a_filter_that_cannot_be_served_is_refused_rather_than_ignored(agents):
    search = {"filter": {"equals": {"key": "team", "value": "orders"}}}
    with pytest.raises(ClientError, match="filter cannot be served"):
        agents.retrieve(
            **KNOWLEDGE,
            retrievalQuery={"text": "the"},
            retrievalConfiguration={"vectorSearchConfiguration": search},
        )


def generate(agents, text: str, **more: object):
    return agents.retrieve_and_generate(
        input={"text": text},
        retrieveAndGenerateConfiguration={
            "type": "KNOWLEDGE_BASE",
            "knowledgeBaseConfiguration": {
                **KNOWLEDGE,
                "modelArn": f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU}",
                **more,
            },
        },
    )


def test_a_generated_answer_cites_what_it_rests_on(emulator, agents):
    answer = generate(agents, "rotate")
    (citation,) = answer["citations"]
    assert answer["output"]["text"] == "Rotate keys: rotate the keys of the gateway."
    (reference,) = citation["retrievedReferences"]
    assert reference["metadata"]["x-amz-bedrock-kb-chunk-id"] == "rb-3"
    assert last(emulator).model_invoked == "anthropic.claude-haiku-4-5-20251001-v1:0"
    assert last(emulator).tokens["output"] == tokens.estimate(answer["output"]["text"])


def test_a_guarded_answer_tells_whether_the_guardrail_intervened(agents):
    guardrail = {"guardrailId": "incidentops", "guardrailVersion": "1"}
    guarded = {"generationConfiguration": {"guardrailConfiguration": guardrail}}
    assert generate(agents, "rotate", **guarded)["guardrailAction"] == "NONE"
    blocked = generate(agents, "BLOCKED", **guarded)
    assert blocked["guardrailAction"] == "INTERVENED"
    assert blocked["output"]["text"] == "The guardrail blocked this request."
    assert blocked["citations"] == []


def test_texts_are_ranked_and_billed_by_begun_hundreds(emulator, agents):
    texts = ["nothing", "the full pool", "a pool"] + ["filler"] * 98
    ranking = agents.rerank(
        queries=[{"type": "TEXT", "textQuery": {"text": "full pool"}}],
        sources=[
            {
                "type": "INLINE",
                "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}},
            }
            for text in texts
        ],
        rerankingConfiguration={
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {
                "numberOfResults": 2,
                "modelConfiguration": {
                    "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0"
                },
            },
        },
    )["results"]
    assert [(one["index"], one["relevanceScore"]) for one in ranking] == [(1, 1.0), (2, 0.5)]
    assert last(emulator).units == {"query": 2}


# --- Q Business --------------------------------------------------------------------------------


def test_a_chat_answers_with_its_sources(emulator, business):
    answer = business.chat_sync(**APPLICATION, userMessage="rotate the keys")
    assert "Rotate keys" in answer["systemMessage"]
    assert answer["sourceAttributions"][0]["documentId"] == "rb-3"
    assert answer["sourceAttributions"][0]["citationNumber"] == 1
    assert last(emulator).units == {"chat_unit": 2}


def test_a_chat_goes_on_from_its_last_message_only(business):
    first = business.chat_sync(**APPLICATION, userMessage="drain")
    going_on = {"conversationId": first["conversationId"], "userMessage": "keys"}
    second = business.chat_sync(**APPLICATION, **going_on, parentMessageId=first["systemMessageId"])
    assert second["conversationId"] == first["conversationId"]
    with pytest.raises(business.exceptions.ValidationException, match="parentMessageId"):
        business.chat_sync(**APPLICATION, **going_on, parentMessageId=first["systemMessageId"])
    with pytest.raises(business.exceptions.ResourceNotFoundException) as refused:
        business.chat_sync(**APPLICATION, userMessage="keys", conversationId=str(uuid.uuid4()))
    assert refused.value.response["resourceType"] == "CONVERSATION"


def test_the_same_client_token_is_answered_once(emulator, business):
    asked = {**APPLICATION, "userMessage": "drain", "clientToken": "token-1"}
    first, second = business.chat_sync(**asked), business.chat_sync(**asked)
    assert first["systemMessageId"] == second["systemMessageId"]
    assert last(emulator).units == {}
    with pytest.raises(business.exceptions.ConflictException):
        business.chat_sync(**asked | {"userMessage": "keys"})


def test_relevant_content_has_no_confidence_that_nobody_measured(business):
    asked = {
        **APPLICATION,
        "queryText": "restart the",
        "contentSource": {"retriever": {"retrieverId": "r" * 36}},
    }
    first = business.search_relevant_content(**asked, maxResults=2)
    rest = business.search_relevant_content(**asked, maxResults=2, nextToken=first["nextToken"])
    found = [*first["relevantContent"], *rest["relevantContent"]]
    assert [one["documentId"] for one in found] == ["rb-1", "rb-2", "rb-3"]
    assert found[1]["documentUri"] == "https://wiki.example/drain"
    assert {one["scoreAttributes"]["scoreConfidence"] for one in found} == {"NOT_AVAILABLE"}


def test_modes_of_chat_that_nobody_serves_are_refused(business):
    with pytest.raises(business.exceptions.ValidationException, match="RETRIEVAL_MODE"):
        business.chat_sync(**APPLICATION, userMessage="hi", chatMode="CREATOR_MODE")
