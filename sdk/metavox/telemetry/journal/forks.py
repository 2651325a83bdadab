"""What no fork may cut in two: the child would inherit locks whose holder does not exist there, held for ever."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator

LONGEST = 2.0
"""Seconds that a fork waits in all; a file system that hangs must not hang the program."""


class ForkGuard:
    """Makes a fork wait for the end of a ``with`` block: SQLite's transactions, and imports in a thread of ours.

    Each kind of work has a guard of its own, since its blocks wait for one another too, and a program's end for
    what it still writes. A finalizer or a signal handler that comes to a block from the middle of it is let in.

    Raises:
        OSError: in a child that was forked from the middle of one all the same.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0  # of blocks within blocks
        self._usable = True
        self._held = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._usable:
            self._lock.release()
            raise OSError(errno.EDEADLK, "this process was forked from the middle of its parent's work")
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        if self._usable:  # the child of a fork from within this block has another lock
            self._depth -= 1
            self._lock.release()

    @contextlib.contextmanager
    def within(self, longest: float) -> Iterator[None]:
        """The same block, for who waits for other threads no longer than some seconds; else TimeoutError."""
        lock = self._lock
        if not lock.acquire(timeout=longest):
            raise TimeoutError(errno.ETIMEDOUT, "another thread of this program is at the same work")
        try:
            with self:
                yield
        finally:
            lock.release()

    def hold(self, longest: float) -> None:
        """Before a fork: wait for the end of what runs, seconds at most."""
        self._held = self._lock.acquire(timeout=max(longest, 0))
        if self._held and self._depth:  # it is this thread that forks from within
            self.let_go()

    def let_go(self) -> None:
        """After a fork, in the parent; nothing where this module came to be in the middle of it."""
        if self._held:
            self._held = False
            self._lock.release()

    def begin_again(self) -> None:
        """After a fork, in the child; what could not be waited for is not done there any more."""
        self._usable = self._usable and (self._held or not self._depth)
        self._held = False
        self._depth = 0
        self._lock = threading.RLock()


# All of them here, so that they are there before the first of our threads: a guard that came to be while a fork
# waits for another one would not have been asked.
loading = ForkGuard()
loading_upload = ForkGuard()
transactions = ForkGuard()

_ALL = (transactions, loading_upload, loading)


def _before() -> None:
    until = time.monotonic() + LONGEST
    for guard in _ALL:
        guard.hold(until - time.monotonic())


def _in_parent() -> None:
    for guard in _ALL:
        guard.let_go()


def _in_child() -> None:
    for guard in _ALL:
        guard.begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
