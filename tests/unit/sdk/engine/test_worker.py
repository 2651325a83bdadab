"""Calls on another thread, one after the other, to the end of the program."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

from metavox.engine.worker import Worker


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tested"]


def test_calls_are_made_in_order_on_one_other_thread():
    worker, made = Worker("tested"), []
    futures = [worker.submit(lambda at=at: made.append((at, threading.current_thread().name))) for at in range(50)]
    futures[-1].result()
    assert made == [(at, "tested") for at in range(50)]
    worker.close()
    assert not threads()
    worker.close()


def test_a_result_and_an_error_come_to_who_waits():
    worker = Worker("tested")
    assert worker.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        worker.submit(divmod, 7, 0).result()
    assert worker.submit(divmod, 9, 2).result() == (4, 1)
    worker.close()


def test_closing_waits_for_what_was_submitted():
    worker, made = Worker("tested"), []
    for at in range(3):
        worker.submit(lambda at=at: time.sleep(0.02) or made.append(at))
    worker.close()
    assert made == [0, 1, 2]


def test_who_drops_it_ends_it_and_what_was_called_is_let_go():
    class Holder:
        def __init__(self):
            self.worker = Worker("tested")

        def call(self):
            return 5

    holder = Holder()
    assert holder.worker.submit(holder.call).result() == 5
    gone = weakref.ref(holder)
    del holder
    until = time.monotonic() + 10
    while (gone() or threads()) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.005)
    assert gone() is None
    assert not threads()


def test_threads_that_outlive_the_main_one_are_served_to_their_end():
    program = """
import threading, time
from metavox.engine.worker import Worker
worker = Worker("tested")
def work():
    time.sleep(0.2)
    print(sum(worker.submit(divmod, at, 2).result()[0] for at in range(100)))
threading.Thread(target=work).start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2450\n", "")
