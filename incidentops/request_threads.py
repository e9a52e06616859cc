"""The thread of a request, kept for the next one.

Under ASGI everything that is synchronous in a request runs in one thread, which asgiref starts with
the request and ends with it: more than a tenth of what a short request costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

MOST_IDLE = 32


class _Thread(ThreadPoolExecutor):
    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="request")
        self._last: Future[Any] | None = None

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._last = super().submit(work, *args, **kwargs)
        return self._last

    def leave(self) -> None:
        """Be there for another request, once the work of one that was broken off has ended too."""
        if self._last is None:
            self._rest()
        else:
            self._last.add_done_callback(self._rest)

    def _rest(self, _: object = None) -> None:
        if len(_idle) < MOST_IDLE:
            _idle.append(self)
        else:
            self.shutdown(wait=False)


_idle: deque[_Thread] = deque()


class KeptThread(ThreadSensitiveContext):
    """In the block all synchronous work runs in one thread that nobody else uses meanwhile."""

    async def __aenter__(self) -> KeptThread:
        await super().__aenter__()  # type: ignore[no-untyped-call]  # asgiref's has no types
        SyncToAsync.context_to_thread_executor[self] = _idle.pop() if _idle else _Thread()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        thread = SyncToAsync.context_to_thread_executor.pop(self)
        await super().__aexit__(kind, error, trace)  # type: ignore[no-untyped-call]  # asgiref's has no types
        assert isinstance(thread, _Thread)
        thread.leave()
