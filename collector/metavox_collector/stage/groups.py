"""Group commit: one thread writes, and what arrives while it does so is committed together, next.

One ``fsync`` then serves many requests. The event loop hands work over once in each of its rounds and is told the
outcome once for each group: a lock, a wake-up or a thread for each request costs more than the request.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Work from an event loop -> groups, on a thread of their own -> each one's outcome, back on the loop.

    Args:
        do: What is done with a group, on the thread: each one's outcome, in order. What it raises all are told.
        name: The thread's name, for whoever looks at the process.
    """

    def __init__(self, do: Callable[[Sequence[T]], Sequence[R | Exception]], name: str) -> None:
        self._do = do
        self._name = name
        self._handed: list[tuple[T, asyncio.Future[R]]] = []
        self._queue: SimpleQueue[list[tuple[T, asyncio.Future[R]]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Return when all that was given before is done; nothing may be given afterwards."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._hand_over()
            self._queue.put(None)
            await asyncio.to_thread(thread.join)
            await asyncio.sleep(0)  # whoever waited for the last group is told before this returns

    async def __call__(self, item: T) -> R:
        """The outcome of one piece of work; raises what went wrong with it.

        Raises:
            RuntimeError: if it is not running.
        """
        if self._thread is None:
            raise RuntimeError("group commit was not started, or is over")
        done: asyncio.Future[R] = self._loop.create_future()
        if not self._handed:  # those that arrive in this round of the loop go together
            self._loop.call_soon(self._hand_over)
        self._handed.append((item, done))
        return await done

    def _hand_over(self) -> None:
        if self._handed:
            self._queue.put(self._handed)
            self._handed = []

    def _run(self) -> None:
        is_over = False
        while not is_over:
            group, is_over = self._waiting()
            if group:
                outcomes = self._done([item for item, _ in group])
                told = list(zip((done for _, done in group), outcomes, strict=True))
                self._loop.call_soon_threadsafe(_tell, told)

    def _done(self, group: Sequence[T]) -> Sequence[R | Exception]:
        try:
            return self._do(group)
        except Exception as error:  # without this thread nobody would ever be told anything again
            return [error] * len(group)

    def _waiting(self) -> tuple[list[tuple[T, asyncio.Future[R]]], bool]:
        """Everything that waits, at least one, and whether it was the last."""
        part = self._queue.get()
        group: list[tuple[T, asyncio.Future[R]]] = []
        while part is not None:
            group += part
            if self._queue.empty():  # this thread alone takes anything out
                return group, False
            part = self._queue.get()
        return group, True


def _tell(told: Sequence[tuple[asyncio.Future[R], R | Exception]]) -> None:
    for done, outcome in told:
        if done.done():  # whoever asked waits no more
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
