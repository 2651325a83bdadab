"""The output of one request as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from metavox.outputs import CompletionChunk

if TYPE_CHECKING:
    from metavox.engine.request import RequestState
    from metavox.serving import Serving


class CompletionStream(Iterator[CompletionChunk]):
    """The chunks of one request, as they come. Closing it, or dropping it, ends the request."""

    def __init__(self, serving: Serving, state: RequestState) -> None:
        from metavox.engine.stream import Chunks

        self._serving = serving
        self._state = state
        self._chunks = Chunks(state)
        self._ready: list[CompletionChunk] = []
        self._over = self._owes_outcome = False
        state.is_streamed = True
        serving.driver.submit([state])

    def __iter__(self) -> CompletionStream:
        return self

    def __next__(self) -> CompletionChunk:
        while not self._ready:
            if self._owes_outcome:  # after the last chunk, an error that ended the request
                self._owes_outcome = False
                self._serving.outcome([self._state])
            if self._over:
                raise StopIteration
            self._advance()
        return self._ready.pop(0)

    def _advance(self) -> None:
        """Wait until there is something to tell."""
        driver, state, chunks = self._serving.driver, self._state, self._chunks
        try:
            driver.drive(lambda: state.finished or chunks.has_news)
        except BaseException:
            self.close()
            raise
        finished = state.finished
        ready = chunks.take(driver.engine.runner.memory_bytes())
        if finished or (ready and ready[-1].output is not None):  # it may have ended meanwhile
            self._over = self._owes_outcome = True
            self._serving.record([state])  # now, since whoever has the last chunk may not ask for more
        self._ready = ready

    def close(self) -> None:
        """End the request, if it has not ended. What was not told yet is not told any more."""
        self._owes_outcome = False
        self._ready = []
        if not self._over:
            self._over = True
            self._serving.drop([self._state])

    def __enter__(self) -> CompletionStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            self._serving.driver.cancel([self._state])  # without waiting: a collector may call from anywhere
