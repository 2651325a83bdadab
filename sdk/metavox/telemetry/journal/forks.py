"""What no fork may cut in two: the child would inherit locks whose holder does not exist there, held for ever."""

from __future__ import annotations

import errno
import os
import threading

LONGEST = 2.0
"""Seconds that a fork waits; a file system that hangs must not hang the program."""


class ForkGuard:
    """Makes a fork wait for the end of a ``with`` block: SQLite's transactions, and imports in a thread of ours.

    Each kind of work has a guard of its own, since its blocks wait for one another too, and a program's end for
    what it still writes. Not for nesting; made once, for as long as the process lives.

    Raises:
        OSError: in a child that was forked from the middle of one all the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usable = True
        self._held = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._usable:
            self._lock.release()
            raise OSError(errno.EDEADLK, "this process was forked from the middle of its parent's work")

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _before(self) -> None:
        self._held = self._lock.acquire(timeout=LONGEST)

    def _in_parent(self) -> None:
        if self._held:  # not where this module came to be in the middle of a fork
            self._held = False
            self._lock.release()

    def _in_child(self) -> None:
        self._usable = self._usable and (self._held or not self._lock.locked())
        self._held = False
        self._lock = threading.Lock()


# All of them here, so that they are there before the first of our threads: a guard that came to be while a fork
# waits for another one would not have been asked.
loading = ForkGuard()
loading_upload = ForkGuard()
transactions = ForkGuard()
