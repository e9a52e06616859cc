"""What every answer of this installation says of itself."""

from __future__ import annotations

from collections.abc import Mapping

from awsai.ports import NOTHING_USED, Served, Usage


def label(
    service: str,
    operation: str,
    *,
    model_requested: str = "",
    model_invoked: str = "",
    tokens: Mapping[str, int] | None = None,
) -> Served:
    """Tokens are estimates that nobody bills; an algorithm without tokens used nothing."""
    return Served(
        provider="local",
        service=service,
        operation=operation,
        model_requested=model_requested,
        model_invoked=model_invoked,
        usage=NOTHING_USED if tokens is None else Usage(tokens=tokens, confidence="estimated"),
    )
