"""The threads that the compiled operations share: every task is done once, whoever calls."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from metavox_kernels.native.build import load

pytestmark = pytest.mark.skipif(load("pool") is None, reason="there is no C compiler")
WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_long)


def run(tasks: int, threads: int, *, unit: int = 1, most: int = 1 << 30, work=None) -> list[tuple[int, int, int]]:
    """The portions of a loop: begin, end, thread."""
    portions = []

    def note(_, begin, end, thread):
        portions.append((begin, end, thread))
        if work:
            work(begin, end, thread)

    arguments = [ctypes.c_long(number) for number in (tasks, unit, most)]
    load("pool").run_loop(WORK(note), None, *arguments, threads)
    return portions


def done(portions) -> list[int]:
    return sorted(task for begin, end, _ in portions for task in range(begin, end))


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 1000])
def test_every_task_is_done_once(tasks, threads):
    for _ in range(20):
        portions = run(tasks, threads)
        assert done(portions) == list(range(tasks))
        assert all(0 <= thread < threads for _, _, thread in portions)


def test_portions_keep_to_what_was_asked():
    portions = run(500, 2, unit=3, most=30)
    assert all(end - begin <= 30 for begin, end, _ in portions)
    assert all((end - begin) % 3 == 0 for begin, end, _ in portions if end - begin > 3)
    assert done(portions) == list(range(500))


def test_several_threads_work_at_once():
    both = threading.Barrier(2, timeout=60)
    portions = run(2, 2, most=1, work=lambda *_: both.wait())
    assert {thread for *_, thread in portions} == {0, 1}


def test_a_worker_that_slept_is_woken():
    run(2, 2)
    time.sleep(0.05)
    both = threading.Barrier(2, timeout=60)
    assert done(run(2, 2, most=1, work=lambda *_: both.wait())) == [0, 1]


def test_callers_at_the_same_time_all_get_their_loops_done():
    results = []
    callers = [
        threading.Thread(target=lambda: results.extend(done(run(300, 3)) == list(range(300)) for _ in range(50)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(100)
    assert results == [True] * 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_has_threads_of_its_own():
    script = """
import os, sys
from tests.unit.kernels.test_pool import done, run
assert done(run(100, 2)) == list(range(100))
child = os.fork()
if not child:
    os._exit(0 if done(run(100, 2)) == list(range(100)) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=100, check=False).returncode == 0


def test_signals_reach_the_programs_own_threads_alone():
    run(64, 3)
    if not os.path.exists("/proc/self/task"):
        pytest.skip("the masks of threads are read in /proc")
    known = {thread.native_id for thread in threading.enumerate()}
    masks = []
    for task in os.listdir("/proc/self/task"):
        text = Path(f"/proc/self/task/{task}/status").read_text()
        if int(task) not in known:
            masks.append(int(text.split("SigBlk:")[1].split()[0], 16))
    interrupts = [mask >> 1 & 1 for mask in masks]  # SIGINT is 2, bit 1
    assert sum(interrupts) >= 2
