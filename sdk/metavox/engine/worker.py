"""A thread that makes calls one after the other."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Call = Callable[[], None]


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

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have `function` called. Returns at once."""
        future: Future[T] = Future()
        self._calls.put(lambda: _fulfil(future, function, arguments))
        return future

    def close(self) -> None:
        """Wait for what was submitted, and end the thread."""
        self._end()


def _fulfil(future: Future[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
    try:
        result = function(*arguments)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


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
