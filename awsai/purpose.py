"""For whom a call is made: known where a call begins, needed where its row is written."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from awsai.models import RouteDecision


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """`run_ref` names the agent run; `words` are kept as a keyed digest, or sealed if asked.

    A `decision` that is not stored yet is stored with the first call it led to.
    """

    incident: int | None = None
    severity: str = ""
    agent: str = ""
    run_ref: str = ""
    decision: RouteDecision | None = None
    words: str = ""
    estimated_nano_usd: int | None = None

    @property
    def digest(self) -> str:
        """An HMAC of the words, so that short ones cannot be guessed from it."""
        if not self.words:
            return ""
        key = hashlib.sha256(b"awsai.words:" + settings.SECRET_KEY.encode()).digest()
        return hmac.new(key, self.words.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


_current: ContextVar[Purpose] = ContextVar("awsai_purpose", default=Purpose())  # noqa: B039  # frozen


def current() -> Purpose:
    return _current.get()


@contextmanager
def serving(**fields: Any) -> Iterator[Purpose]:
    """Calls inside the block are made for this purpose, beside what was known of it before."""
    purpose = replace(_current.get(), **fields)
    token = _current.set(purpose)
    try:
        yield purpose
    finally:
        _current.reset(token)
