"""One engine for many threads: whoever waits for a result steps it, for everyone."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable

from metavox.engine.engine import Engine
from metavox.engine.request import RequestState
from metavox.errors import EngineLost

CLOSED = "This LLM was closed; load the model again."


class Driver:
    """Hands requests to the engine and steps it.

    There is no thread that runs for its own sake. Whoever waits takes the lock and makes a step, in which
    the requests of all callers run together; the others find their results when they get the lock. So nobody can
    wait for ever for someone who has gone, and nothing is left running when nobody waits.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        self._stepped = threading.Condition()
        self._num_turns = 0
        self._arrived: deque[RequestState] = deque()
        self._unwanted: deque[RequestState] = deque()
        self._process = os.getpid()
        self._closed = False

    def submit(self, states: Iterable[RequestState]) -> None:
        """Put requests in line. Returns at once; any thread may call it."""
        self._refuse_if_lost()
        self._arrived.extend(states)

    def cancel(self, states: Iterable[RequestState]) -> None:
        """End requests, at the latest before the next step. Returns at once; finished ones stay as they are."""
        self._unwanted.extend(states)

    @property
    def has_work(self) -> bool:
        """Whether a step would do something."""
        return bool(self._arrived or self._unwanted or self.engine.has_work)

    def drive(self, done: Callable[[], bool]) -> None:
        """Step the engine, or wait while another thread does, until `done()`.

        Raises what the caller is interrupted by; requests that are under way are not lost by it.
        """
        while not done():
            self._refuse_if_lost()
            turn = self._num_turns
            if self._lock.acquire(blocking=False):
                self._take_turn(done)
            else:  # not for the lock, which the one who has it may take again and again
                with self._stepped:
                    self._stepped.wait_for(lambda: self._num_turns != turn)  # noqa: B023 - waits here

    def _take_turn(self, done: Callable[[], bool]) -> None:
        try:
            if not done() and self.has_work:
                self._step()
        finally:
            self._lock.release()
            with self._stepped:
                self._num_turns += 1
                self._stepped.notify_all()

    def settle(self) -> None:
        """Carry out what was cancelled, once no step is being made."""
        with self._lock:
            self._move()

    def close(self) -> None:
        """End every request with EngineLost, and give the model's memory back."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._move()
                _tell(self.engine.fail(EngineLost(CLOSED)))
                self.engine.close()

    def _move(self) -> None:
        while self._arrived:
            self.engine.add(self._arrived.popleft())
        while self._unwanted:
            state = self._unwanted.popleft()
            self.engine.abort(state)
            _tell([state])

    def _step(self) -> None:
        try:
            self._move()
            updated = self.engine.step()
        except Exception as error:  # of the device: whatever ran is lost, and its callers are told
            updated = self.engine.fail(error)
        except BaseException:  # of this thread alone, which may be in the middle of anything
            self.engine.restart()
            raise
        _tell(updated)

    def _refuse_if_lost(self) -> None:
        if self._closed:
            raise EngineLost(CLOSED)
        if os.getpid() != self._process:
            raise EngineLost(
                "This process was forked from the one that loaded the model, and threads do not survive a fork. "
                "Load the model after forking, or start processes with the 'spawn' method."
            )


def _tell(states: Iterable[RequestState]) -> None:
    for state in states:
        if state.on_update is not None:
            state.on_update()
