"""Amazon Q Business: ChatSync and SearchRelevantContent.

Nobody made applications here: any well-formed id is that of the one there is.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from awsai.emulator import paging
from awsai.emulator.account import Account, Call, Handler, Output
from awsai.emulator.errors import AwsError
from awsai.ports import Excerpt

SERVICE = "q-business"
RESULTS = 10
CHAT_UNITS = 2  # what a ChatSync is billed as
_LONGEST = 2048  # of every text that the service tells
_KEPT = 1000


def handlers(account: Account) -> Mapping[str, Handler]:
    business = QBusiness(account)
    return {
        "ChatSync": business.chat_sync,
        "SearchRelevantContent": business.search_relevant_content,
    }


class QBusiness:
    def __init__(self, account: Account) -> None:
        self._account = account
        # By client token, the digest of the request it came with and what that was answered.
        self._answered: OrderedDict[str, tuple[str, Output]] = OrderedDict()
        # By conversation, the last message of the service in it.
        self._conversations: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def chat_sync(self, call: Call) -> Output:
        params = call.params
        message = params.get("userMessage")
        if not message or params.keys() & {"attachments", "attributeFilter", "actionExecution"}:
            raise _invalid("Only messages of text are answered here.")
        if params.get("chatMode", "RETRIEVAL_MODE") != "RETRIEVAL_MODE":
            raise _invalid("Only RETRIEVAL_MODE is served here.")
        token, digest = params.get("clientToken", ""), call.entry.params_digest
        if (known := self._known(token, digest)) is not None:
            return known
        conversation_id = self._conversation(params)
        answer = self._account.provider.retriever(SERVICE).answer(message)
        call.entry.bill(units={"chat_unit": CHAT_UNITS})
        output: Output = {
            "conversationId": conversation_id,
            "userMessageId": str(uuid.uuid4()),
            "systemMessageId": str(uuid.uuid4()),
            "systemMessage": _told(answer.text),
            "sourceAttributions": [
                _attribution(number, excerpt) for number, excerpt in enumerate(answer.cited, 1)
            ],
        }
        with self._lock:
            _keep(self._conversations, conversation_id, output["systemMessageId"])
            if token:
                _keep(self._answered, token, (digest, output))
        return dict(output)

    def search_relevant_content(self, call: Call) -> Output:
        params = call.params
        if "attributeFilter" in params:
            raise _invalid("attributeFilter cannot be served here.")
        start, size = paging.offset(params), params.get("maxResults", RESULTS)
        # One more than is asked for shows whether there are more.
        excerpts = self._account.provider.retriever(SERVICE).retrieve(
            params["queryText"], limit=start + size + 1
        )
        found, following = paging.page(excerpts.found, start, size)
        return {"relevantContent": [_content(one) for one in found], "nextToken": following}

    def _known(self, token: str, digest: str) -> Output | None:
        """What the same request with this token was answered before. It is not billed again."""
        with self._lock:
            before, output = self._answered.get(token, (digest, None))
        if before != digest:
            raise AwsError(
                "ConflictException",
                "The client token was used with another request.",
                detail={"resourceId": token, "resourceType": "CLIENT_TOKEN"},
            )
        return dict(output) if output is not None else None

    def _conversation(self, params: Mapping[str, Any]) -> str:
        """The conversation that a message continues, or a new one."""
        conversation_id = params.get("conversationId")
        if conversation_id is None:
            return str(uuid.uuid4())
        with self._lock:
            last = self._conversations.get(conversation_id)
        if last is None:
            raise AwsError(
                "ResourceNotFoundException",
                "There is no such conversation.",
                detail={"resourceId": conversation_id, "resourceType": "CONVERSATION"},
            )
        if params.get("parentMessageId") != last:
            raise _invalid("parentMessageId must be that of the last message of the service.")
        return str(conversation_id)


def _attribution(number: int, excerpt: Excerpt) -> dict[str, Any]:
    return {
        "citationNumber": number,
        "documentId": _told(excerpt.id),
        "title": _told(excerpt.title),
        "snippet": _told(excerpt.text),
        "url": _told(excerpt.uri),
    }


def _content(excerpt: Excerpt) -> dict[str, Any]:
    is_url = excerpt.uri.startswith(("http://", "https://", "ftp://", "file://"))
    return {
        "documentId": _told(excerpt.id),
        "documentTitle": _told(excerpt.title[:1024]),
        "documentUri": _told(excerpt.uri) if is_url else None,
        "content": _told(excerpt.text),
        # The scores behind the port put results in order; they are no degrees of confidence.
        "scoreAttributes": {"scoreConfidence": "NOT_AVAILABLE"},
    }


def _told(text: str) -> str | None:
    """The text as far as the service tells it; it leaves out what is empty."""
    return text[:_LONGEST] or None


def _keep(table: OrderedDict[str, Any], key: str, value: Any) -> None:
    table[key] = value
    while len(table) > _KEPT:
        table.popitem(last=False)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message, detail={"reason": "FIELD_VALIDATION_FAILED"})
