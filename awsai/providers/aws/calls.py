"""One call while it runs, and how it comes to its row in the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from django.conf import settings

from awsai.ledger import Attempt, Entry, Result, outcome_of
from awsai.models import AwsCall, Outcome
from awsai.ports import NOTHING_USED, Served, Trouble, Usage
from awsai.providers.aws.usage import total

GUARDRAIL_INTERVENED = "guardrail_intervened"


_ends_by: ContextVar[float] = ContextVar("awsai_ends_by", default=math.inf)


def deadline_from_now() -> float:
    """Until when a call that begins now may take, on the monotonic clock."""
    return monotonic() + float(settings.AWSAI_CALL_LIMIT.total_seconds())


@contextmanager
def ending_by(deadline: float) -> Iterator[None]:
    """Calls that begin inside the block end by then, for those who need several for one answer."""
    token = _ends_by.set(min(deadline, _ends_by.get()))
    try:
        yield
    finally:
        _ends_by.reset(token)


@dataclass(kw_only=True)
class Call:
    """An open call. `parameters` are those that the caller gave the client."""

    entry: Entry
    operation: str
    parameters: Mapping[str, Any]
    attempts: list[Attempt] = field(default_factory=list)
    attempt_began: float = field(default_factory=monotonic)
    deadline: float = field(
        default_factory=lambda: min(deadline_from_now(), _ends_by.get()),
    )
    request_id: str = ""

    @property
    def remaining_seconds(self) -> float:
        return self.deadline - monotonic()

    def is_first(self, error: str) -> bool:
        return sum(attempt.error == error for attempt in self.attempts) == 1

    def succeed(self, usage: Usage, *, stop_reason: str = "", model: str = "") -> Served:
        """`model` is the one that answered, where the answer names another than was asked."""
        return self.settle(
            Outcome.BLOCKED if stop_reason == GUARDRAIL_INTERVENED else Outcome.SUCCEEDED,
            usage=usage,
            stop_reason=stop_reason,
            model=model,
        )

    def fail(self, trouble: Trouble, code: str, *, usage: Usage = NOTHING_USED) -> Served:
        return self.settle(outcome_of(trouble), code=code, usage=usage)

    def settle(
        self,
        outcome: Outcome,
        *,
        usage: Usage = NOTHING_USED,
        code: str = "",
        stop_reason: str = "",
        model: str = "",
        first_token_ms: int | None = None,
    ) -> Served:
        """Write the row, once."""
        has_answered = outcome in (Outcome.SUCCEEDED, Outcome.BLOCKED) or bool(usage.tokens)
        row = self.entry.settle(
            Result(
                outcome=outcome,
                usage=usage,
                model_invoked=model_id(model or self._asked) if has_answered else "",
                request_id=self.request_id or self._last_request_id(),
                error_code=code,
                stop_reason=stop_reason,
                attempts=tuple(self.attempts),
                first_token_ms=first_token_ms,
            )
        )
        return _served(row, usage)

    @property
    def _asked(self) -> str:
        return self.entry.intent.model_requested

    def _last_request_id(self) -> str:
        return self.attempts[-1].request_id if self.attempts else ""


def model_id(name: str) -> str:
    """The id that an ARN of a model ends in. Profiles that an account made have no such id."""
    kind, _, own = name.rpartition("/")
    return own if kind.endswith((":foundation-model", ":inference-profile")) else name


def _served(row: AwsCall, usage: Usage) -> Served:
    return Served(
        provider=row.provider,  # type: ignore[arg-type]  # the column holds a ProviderName
        service=row.service,
        operation=row.operation,
        model_requested=row.model_requested,
        model_invoked=row.model_invoked,
        request_id=row.request_id,
        usage=usage,
        call=row.sequence,
    )


def merged(*parts: Served) -> Served:
    """Who gave an answer that took several calls: the last of them, with the usage of all."""
    return replace(parts[-1], usage=total(part.usage for part in parts))
