"""New processes that share work."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from metavox_privacy.processes import workers

_PARENT = """
import os, threading
from metavox_privacy.processes import workers
with workers(2) as pool:
    assert pool.submit(os.getppid).result() == os.getpid()
    print("ready", flush=True)
    threading.Event().wait()
"""


def test_they_answer_in_order_and_are_other_processes() -> None:
    with workers(2) as pool:
        assert list(pool.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
        assert pool.submit(os.getpid).result() != os.getpid()


def test_one_that_is_killed_is_an_error_and_no_endless_wait() -> None:
    with workers(1) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(os._exit, 1).result()


def test_they_end_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        assert parent.communicate(timeout=60)[0] == ""  # it ends when the last that has the pipe has ended
