"""Event streams whose call gets its one row however reading them ends.

botocore says that a call is over before the first event of its stream is read. So the open call is
handed to the stream, which settles it: when the last event was read, when the service or the network
broke it off, when its reader closed it, and when its reader forgot it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from awsai.ledger import outcome_of
from awsai.models import Outcome
from awsai.ports import CallFailed, Served, Trouble, Usage
from awsai.providers.aws import errors, usage
from awsai.providers.aws.calls import GUARDRAIL_INTERVENED, Call

log = logging.getLogger(__name__)

Event = Mapping[str, Any]


class Reading:
    """What the events of a stream have told so far; of a stream nothing is known of, nothing.

    `told` is the usage, None until an event tells it. `is_final` says that no more can follow.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self.words: list[str] = []
        self.told: Usage | None = None
        self.is_final = False
        self.stop_reason = ""
        self.model = ""

    @property
    def reckoned(self) -> Usage:
        """The usage as far as it can be known of a stream that was not read to its end."""
        if self.told is not None:
            return replace(self.told, confidence="estimated")
        return usage.estimated(usage.texts_asked(self._parameters), "".join(self.words))

    def note(self, event: Event) -> None:
        """Take in the next event."""

    def _take(self, words: str) -> None:
        if words:
            self.words.append(words)


class ConverseReading(Reading):
    def note(self, event: Event) -> None:
        if delta := event.get("contentBlockDelta"):
            self._take(delta.get("delta", {}).get("text", ""))
        elif stop := event.get("messageStop"):
            self.stop_reason = stop.get("stopReason", "")
        elif metadata := event.get("metadata"):
            self.told, self.is_final = usage.of("Converse", {}, metadata), True
            router = metadata.get("trace", {}).get("promptRouter", {})
            self.model = router.get("invokedModelId", "")


class AgentReading(Reading):
    """An agent asks its model several times and tells the usage of each in a trace."""

    def note(self, event: Event) -> None:
        if chunk := event.get("chunk"):
            self._take(chunk.get("bytes", b"").decode("utf-8", "replace"))
        for step in event.get("trace", {}).get("trace", {}).values():
            self._note_step(step)

    def _note_step(self, step: Mapping[str, Any]) -> None:
        asked = step.get("modelInvocationInput", {})
        self.model = asked.get("foundationModel") or self.model
        metadata = step.get("modelInvocationOutput", {}).get("metadata", {})
        if told := metadata.get("usage"):
            counted = Usage(
                tokens={"input": told.get("inputTokens", 0), "output": told.get("outputTokens", 0)}
            )
            self.told = usage.total([counted] if self.told is None else [self.told, counted])


_READINGS: dict[str, type[Reading]] = {
    "ConverseStream": ConverseReading,
    "InvokeAgent": AgentReading,
}


class LedgeredStream:
    """The events of `stream`, once. `served` is None until it has ended."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream, self._call = stream, call
        self._events: Iterator[Event] = iter(stream)
        self._first_token_ms: int | None = None
        self.reading = _READINGS.get(call.operation, Reading)(call.parameters)
        self.served: Served | None = None

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            event = next(self._events)
        except StopIteration:
            self._end()
            raise
        except BaseException as error:
            # Whatever it is, it goes on: but the call is over, and has its row.
            self._break(error)
            raise
        self.reading.note(event)
        if self._first_token_ms is None and self.reading.words:
            self._first_token_ms = self._call.entry.elapsed_ms()
        if self._call.remaining_seconds <= 0 and not self.reading.is_final:
            late = CallFailed(Trouble.TIMEOUT, "The answer took too long.", code="CallLimit")
            self._break(late)
            raise late
        return event

    def close(self) -> None:
        """Leave the stream. What was not read was most likely written, and is billed."""
        if self.reading.is_final:
            self._end()
        else:
            self._settle(Outcome.ABANDONED, used=self.reading.reckoned)

    def __enter__(self) -> LedgeredStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Wherever the collector happens to run: perhaps where the database cannot be asked.
        try:
            self.close()
        except Exception:  # nobody could catch it; the row is written as lost later
            log.warning("A forgotten stream was left without its row", exc_info=True)

    def _end(self) -> None:
        if type(self.reading) is Reading:
            self._settle(Outcome.SUCCEEDED, used=Usage(confidence="estimated"))
        elif self.reading.told is None:
            self._settle(Outcome.TRUNCATED, used=self.reading.reckoned)
        elif self.reading.stop_reason == GUARDRAIL_INTERVENED:
            self._settle(Outcome.BLOCKED, used=self.reading.told)
        else:
            self._settle(Outcome.SUCCEEDED, used=self.reading.told)

    def _break(self, error: BaseException) -> None:
        if not isinstance(error, Exception):  # the process is told to stop
            self._settle(Outcome.ABANDONED, used=self.reading.reckoned)
            return
        trouble, code = errors.classify(error)
        # What broke before the first word is not billed, as far as anybody can tell.
        used = self.reading.reckoned if self.reading.words else Usage(confidence="estimated")
        self._settle(outcome_of(trouble), used=used, code=code)

    def _settle(self, outcome: Outcome, *, used: Usage, code: str = "") -> None:
        if self.served is not None:
            return
        try:
            self.served = self._call.settle(
                outcome,
                usage=used,
                code=code,
                stop_reason=self.reading.stop_reason,
                model=self.reading.model,
                first_token_ms=self._first_token_ms,
            )
        finally:
            # Half-read connections are of no use to anybody else.
            with suppress(*errors.WIRE_ERRORS):
                self._stream.close()
