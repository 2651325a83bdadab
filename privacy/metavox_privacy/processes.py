"""New processes that share work, for the audit, the attacks and the estimates alike."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.process import BaseProcess


@contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """As many new interpreters as ``count``, which end with the block; what is not begun by then is dropped.

    They are no forks, because a fork of a process with threads may never answer. If one of them is killed, its
    results raise ``BrokenProcessPool``.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_the_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_the_parent() -> None:
    """Leave interrupts to the parent and do not outlive it: a pool waits for ever for one that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process of a pool has a parent"

    def watch(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, args=(parent,), daemon=True).start()
