"""A thread that makes calls one after the other."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
Call = Callable[[], None]


class Pending(Generic[T]):
    """What a call will bring.

    A `concurrent.futures.Future` would do, but for who waits for it and is interrupted (Ctrl-C) between taking its
    lock and knowing so: it is never given back, and the worker waits for it for ever.
    """

    def __init__(self) -> None:
        self._result: T | None = None
        self._error: BaseException | None = None
        self._is_over = False
        self._under_way = threading.Lock()
        self._under_way.acquire()

    def result(self) -> T:
        """Wait for the call, and give its result or raise its error. One thread waits at a time."""
        while not self._is_over:
            self._under_way.acquire()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    def run(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Make the call."""
        try:
            self._result = function(*arguments)
        except BaseException as error:
            self._error = error
        self._is_over = True
        self._under_way.release()


class Worker:
    """Makes calls in the order of their `submit`, until it is closed or nobody holds it any more.

    Unlike an executor of one thread it also serves the threads that still run when the main one has ended, and
    ends, with the call under way, only after them.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        thread = threading.Thread(target=_serve, args=(self._calls,), name=name, daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _end, self._calls, thread)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Pending[T]:
        """Have `function` called. Returns at once."""
        pending: Pending[T] = Pending()
        self._calls.put(lambda: pending.run(function, arguments))
        return pending

    def close(self) -> None:
        """Wait for what was submitted, and end the thread."""
        self._end()


def _serve(calls: SimpleQueue[Call | None]) -> None:
    while True:
        call = calls.get()
        if call is None:
            return
        call()
        del call  # or who submitted it, and holds the worker, would be kept until the next one


def _end(calls: SimpleQueue[Call | None], thread: threading.Thread) -> None:
    calls.put(None)
    if thread is not threading.current_thread():  # a garbage collector may call from there too
        thread.join()
