"""An answer while it is written, held to what the request allows."""

from __future__ import annotations

from collections.abc import Sequence

from awsai import tokens


class Draft:
    """Ends the text at a stop sequence, which is left out, or at the limit of its tokens.

    `stop_reason` is empty as long as neither was met.
    """

    def __init__(self, *, max_tokens: int, stop_sequences: Sequence[str] = ()) -> None:
        self.text = ""
        self.stop_reason = ""
        self._max_tokens = max_tokens
        self._stop_sequences = stop_sequences
        self._held = ""

    def take(self, piece: str) -> str:
        """The text that can be sent now; the beginning of a stop sequence waits for the rest."""
        if self.stop_reason:
            return ""
        waiting = self._held + piece
        ends = [place for stop in self._stop_sequences if (place := waiting.find(stop)) >= 0]
        if ends:
            self._held = ""
            sent = self._send(waiting[: min(ends)])
            self._end("stop_sequence")
            return sent
        kept = max((_overlap(waiting, stop) for stop in self._stop_sequences), default=0)
        self._held = waiting[len(waiting) - kept :]
        return self._send(waiting[: len(waiting) - kept])

    def rest(self) -> str:
        """What was still waiting when the last piece had come."""
        held, self._held = self._held, ""
        return "" if self.stop_reason else self._send(held)

    def _send(self, text: str) -> str:
        before = self.text
        self.text = tokens.cut(before + text, self._max_tokens)
        if self.text != before + text:
            self._end("max_tokens")
        return self.text[len(before) :]

    def _end(self, reason: str) -> None:
        self.stop_reason = self.stop_reason or reason


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of the text could begin the stop sequence."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
