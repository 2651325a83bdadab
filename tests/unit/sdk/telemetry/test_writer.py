from __future__ import annotations

import threading

import pytest

from metavox.telemetry.writer import PAUSE, Writer


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "metavox-journal"]


def test_counts_wait_ten_seconds_at_most():
    assert PAUSE == 10.0


def test_what_waits_is_written_while_the_program_goes_on_and_then_no_thread_is_left():
    before = writers()
    written = threading.Event()
    writer = Writer(written.set, pause=0.05)
    writer.wake()
    writer.wake()
    (thread,) = [thread for thread in writers() if thread not in before]

    assert not thread.daemon  # the program's end waits for it
    assert not written.is_set()
    thread.join(20)
    assert written.is_set()
    assert not thread.is_alive()


def test_what_comes_while_it_is_written_is_written_too():
    times: list[int] = []
    second = threading.Event()

    def write() -> None:
        times.append(1)
        if len(times) == 1:
            writer.wake()
        else:
            second.set()

    writer = Writer(write, pause=0.01)
    writer.wake()

    assert second.wait(20)
    assert len(times) == 2


def test_where_no_thread_can_be_started_the_next_request_tries_again(monkeypatch: pytest.MonkeyPatch):
    written = threading.Event()
    writer = Writer(written.set, pause=0.01)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        writer.wake()
    writer.wake()

    assert written.wait(20)


def test_where_python_starts_no_thread_any_more_since_it_ends_what_waits_is_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    written = threading.Event()
    over = threading.Thread()  # never started: not alive
    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(threading, "main_thread", lambda: over)
    Writer(written.set).wake()

    assert written.is_set()


def test_a_thread_that_is_over_before_its_start_returns_is_not_taken_for_one_that_waits(
    monkeypatch: pytest.MonkeyPatch,
):
    start = threading.Thread.start
    written: list[int] = []

    def start_and_wait(thread: threading.Thread) -> None:
        start(thread)
        thread.join(20)

    monkeypatch.setattr(threading.Thread, "start", start_and_wait)
    writer = Writer(lambda: written.append(1), pause=0)
    for _ in range(3):
        writer.wake()

    assert len(written) == 3
