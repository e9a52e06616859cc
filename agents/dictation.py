"""Show words while they are written: often enough to read along, never faster than people are told."""

from __future__ import annotations

import json
import re
from time import monotonic

from django.db import transaction

from agents import streams
from agents.claims import Claim
from agents.findings import plain
from agents.specialists.wording import cleaned

# What is written meanwhile waits and travels with the next message: a slow reader costs nothing.
EVERY_SECONDS = 0.25
MOST_SHOWN = 4000
# The values of "text" in a JSON document, the last of which may not have ended yet.
_TEXTS = re.compile(r'"text"\s*:\s*"((?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)')


class Dictation:
    """Takes pieces of an answer; "" begins anew."""

    def __init__(self, claim: Claim, agent: str) -> None:
        self._claim, self._agent = claim, agent
        self._written, self._version, self._told_at = "", 0, 0.0

    def __call__(self, piece: str) -> None:
        self._written = self._written + piece if piece else ""
        if monotonic() - self._told_at >= EVERY_SECONDS:
            self._tell()

    @property
    def shown(self) -> str:
        """What is written so far, without the word at its end: it may be the half of a secret."""
        text = readable(self._written)
        return cleaned(text[: text.rfind(" ") + 1], MOST_SHOWN)

    def _tell(self) -> None:
        self._told_at = monotonic()
        self._version += 1
        with transaction.atomic():
            streams.words_written(
                self._claim.response,
                self._claim.runs[self._agent],
                text=self.shown,
                version=self._version,
            )


def readable(written: str) -> str:
    """The sentences in a part of a JSON answer; a text that is no JSON as it is."""
    if not written.lstrip().startswith("{"):
        return str(plain(written))
    # Not strict: some models write line breaks as they are.
    sentences = [json.loads(f'"{found}"', strict=False) for found in _TEXTS.findall(written)]
    return str(plain(" ".join(" ".join(sentences).split())))
