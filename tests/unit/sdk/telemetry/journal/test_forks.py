from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from metavox.telemetry.journal import forks
from metavox.telemetry.journal.forks import ForkGuard


@contextmanager
def held_elsewhere(*guards: ForkGuard) -> Iterator[None]:
    """Another thread is in the middle of each."""
    inside, over = threading.Event(), threading.Event()

    def work() -> None:
        with ExitStack() as blocks:
            for guard in guards:
                blocks.enter_context(guard)
            inside.set()
            over.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(20)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_fork_waits_for_all_that_hangs_together_no_longer_than_for_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forks, "LONGEST", 0.5)
    with held_elsewhere(forks.loading, forks.loading_upload, forks.transactions):
        start = time.monotonic()
        forks._before()
        took = time.monotonic() - start
        forks._in_parent()

    assert 0.5 <= took < 1.0
    with forks.loading, forks.loading_upload, forks.transactions:
        pass  # the parent goes on as before


def test_what_was_waited_for_is_usable_in_the_child():
    guard = ForkGuard()
    guard.hold(1)
    guard.begin_again()

    with guard:
        pass


def test_what_was_not_waited_for_is_not_done_in_the_child():
    guard = ForkGuard()
    with held_elsewhere(guard):
        guard.hold(0)
        guard.begin_again()

        with pytest.raises(OSError, match="forked"), guard:
            pass


def test_a_fork_from_within_waits_for_nobody_and_only_the_parent_goes_on():
    guard, parent = ForkGuard(), ForkGuard()
    start = time.monotonic()
    with guard, parent:
        guard.hold(20)
        guard.begin_again()
        parent.hold(20)
        parent.let_go()

    assert time.monotonic() - start < 10
    with pytest.raises(OSError, match="forked"), guard:
        pass
    with held_elsewhere(parent):
        pass


def test_who_has_little_time_does_not_wait_for_another_threads_work():
    guard = ForkGuard()
    with held_elsewhere(guard):
        start = time.monotonic()
        with pytest.raises(TimeoutError), guard.within(0.05):
            pass
        assert time.monotonic() - start < 10
    with guard.within(0.05), held_elsewhere(ForkGuard()):
        pass


def test_who_comes_again_from_the_middle_is_let_in_and_others_wait_for_the_end_of_all():
    guard = ForkGuard()
    others: list[int] = []

    def other() -> None:
        with guard:
            others.append(1)

    thread = threading.Thread(target=other)
    with guard:
        with guard:
            thread.start()
        thread.join(0.1)
        assert others == []
    thread.join(20)
    assert others == [1]
