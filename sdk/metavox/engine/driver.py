"""One engine for many threads: whoever waits for a result steps it, for everyone."""

from __future__ import annotations

import contextlib
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
    the requests of all callers run together; the others look for their results after each step. So nobody can
    wait for ever for someone who has gone, and nothing is left running when nobody waits.

    A caller may be interrupted (Ctrl-C) between any two instructions. Whoever takes the next turn sees that a turn
    was begun and not ended, and has the engine start again from the tokens that are known.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Reentrant only because it can then be given back by a thread that was interrupted on its way in or out,
        # and so does not know whether it has it.
        self._lock = threading.RLock()
        self._in_turn: int | None = None  # the thread that has it
        self._is_broken = False  # whether somebody was interrupted while they changed the engine
        self._turn = object()  # another one after each
        # No condition variable: who is interrupted on the way into its lock never gives that back.
        self._waiting: deque[threading.Lock] = deque()
        self._door = threading.Lock()
        self._arrived: deque[RequestState] = deque()
        self._unwanted: deque[RequestState] = deque()
        self._process = os.getpid()
        self._closed = self._is_gone = False

    def submit(self, states: Iterable[RequestState]) -> None:
        """Put requests in line. Returns at once; any thread may call it. Raises EngineLost."""
        with self._door:
            self.refuse_if_lost()
            self._arrived.extend(states)

    def cancel(self, states: Iterable[RequestState]) -> None:
        """End requests, at the latest before the next step. Returns at once; finished ones stay as they are."""
        self._unwanted.extend(states)

    @property
    def has_work(self) -> bool:
        """Whether a step would do something."""
        return not self._closed and bool(self._arrived or self._unwanted or self.engine.has_work)

    def drive(self, done: Callable[[], bool]) -> None:
        """Step the engine, or wait while another thread does, until `done()`.

        Raises EngineLost, and what the caller is interrupted by; requests that are under way are not lost by it.
        """

        def over() -> bool:
            if done():
                return True
            self.refuse_if_lost()
            return False

        self._take_turns(over, self._step)

    def settle(self) -> None:
        """Carry out what was cancelled, once no step is being made."""
        # A fork has no engine, and whoever interrupts its own step goes on with it and carries this out.
        if not self._is_fork and self._in_turn != threading.get_ident():
            self._take_turns(lambda: not self._unwanted, self._move)

    def close(self) -> None:
        """End every request with EngineLost, and give the model's memory back."""
        with self._door:
            self._closed = True
        if not self._is_fork:
            self._take_turns(lambda: self._is_gone, self._end)

    def _take_turns(self, done: Callable[[], bool], work: Callable[[], None]) -> None:
        """Do `work`, or wait while another thread does its own, until `done()`."""
        if self._in_turn == threading.get_ident():
            raise RuntimeError("A signal handler or finalizer may not call the LLM whose step it interrupts.")
        try:
            while not done():
                turn = self._turn
                if self._lock.acquire(blocking=False):
                    self._in_turn = threading.get_ident()
                    if not done():
                        work()
                    self._leave()
                else:  # not for the lock, which the one who has it may take again and again
                    self._wait_for_the_end_of(turn)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        """Let the next one in, if it was this thread that kept them out."""
        if self._in_turn == threading.get_ident():
            self._in_turn = None
        with contextlib.suppress(RuntimeError):  # of a thread that does not have the lock
            self._lock.release()
        self._turn = object()
        with contextlib.suppress(IndexError):  # when all are told, by whomever
            while True:
                self._waiting.popleft().release()

    def _wait_for_the_end_of(self, turn: object) -> None:
        told = threading.Lock()
        told.acquire()
        self._waiting.append(told)
        if self._turn is turn:
            told.acquire()

    def _end(self) -> None:
        self._move()
        _tell(self.engine.fail(EngineLost(CLOSED)))
        self.engine.close()
        self._is_gone = True

    def _move(self) -> None:
        """Let in who arrived and out who is not wanted; what an interruption left half done is begun again."""
        if self._is_broken:
            self.engine.restart()
        self._is_broken = True
        while self._arrived:
            self.engine.add(self._arrived[0])
            self._arrived.popleft()
        # All at once: one by one, the whole line would be gone through for each, and 8,000 took 2 s. By their
        # places, since more may come meanwhile. They leave last: an interruption must not lose them.
        unwanted = [self._unwanted[at] for at in range(len(self._unwanted))]
        self.engine.abort(*unwanted)
        _tell(unwanted)
        for _ in unwanted:
            self._unwanted.popleft()
        self._is_broken = False

    def _step(self) -> None:
        if not self.has_work:
            return
        self._move()
        self._is_broken = True
        try:
            updated = self.engine.step()
        except Exception as error:  # of the device: whatever ran is lost, and its callers are told
            updated = self.engine.fail(error)
        self._is_broken = False
        _tell(updated)

    @property
    def _is_fork(self) -> bool:
        """Whether this is a fork of the process that has the engine, where nobody will ever give up the lock."""
        return os.getpid() != self._process

    def refuse_if_lost(self) -> None:
        """Raise EngineLost where there is no engine any more."""
        if self._closed:
            raise EngineLost(CLOSED)
        if self._is_fork:
            raise EngineLost(
                "This process was forked from the one that loaded the model, and threads do not survive a fork. "
                "Load the model after forking, or start processes with the 'spawn' method."
            )


def _tell(states: Iterable[RequestState]) -> None:
    for state in states:
        if state.on_update is not None:
            state.on_update()
