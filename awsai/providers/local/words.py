"""Words, as lists here are written down and as texts from outside carry them."""

from __future__ import annotations


def listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


def encodable(text: str) -> str:
    """The text, character for character, but for halves of surrogate pairs, which JSON can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
