"""One engine for many threads, any of which may be interrupted anywhere."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import metavox.engine
from metavox.engine.driver import Driver
from metavox.engine.speculate import NGram
from metavox.errors import EngineLost
from metavox.params import SamplingParams
from tests.unit.sdk.engine.device import engine, expected
from tests.unit.sdk.engine.test_engine import check_blocks, tokens

OURS = str(Path(metavox.engine.__path__[0]))
PROMPTS = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 9], [7, 8]]


def arrive(driver: Driver, prompt: list[int], max_tokens: int = 6, **params):
    request = driver.engine.check({"prompt_token_ids": prompt}, SamplingParams(max_tokens=max_tokens, **params))
    state = driver.engine.state(request)
    driver.submit([state])
    return state


class Interrupt:
    """Raises KeyboardInterrupt before the bytecode of the engine's number `at`, and counts them."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __enter__(self):
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def trace(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt
        return self.trace


def call_interrupted(settings, at: int) -> int:
    """Run a request of one's own beside others', interrupted; the others must not notice. Returns the bytecodes."""
    driver = Driver(engine(**settings))
    others = [arrive(driver, prompt) for prompt in PROMPTS]
    own = arrive(driver, [1, 2, 3, 4, 5, 6, 7], n=2)
    interrupt = Interrupt(at)
    try:
        with interrupt:
            driver.drive(lambda: own.finished)
    except KeyboardInterrupt:
        driver.cancel([own])
        driver.settle()
        assert own.finished
    with ThreadPoolExecutor(1) as elsewhere:  # who could not work if the interrupted thread kept the lock
        elsewhere.submit(driver.drive, lambda: all(state.finished for state in others)).result(timeout=20)
    assert [tokens(state)[0] for state in others] == [expected(prompt, 6) for prompt in PROMPTS]
    assert [len(state.sequences[0].token_times) for state in others] == [len(tokens(state)[0]) for state in others]
    check_blocks(driver.engine.scheduler)
    assert driver.engine.scheduler.blocks.num_free == settings["num_blocks"]
    assert not driver.has_work
    assert not driver._is_broken
    return interrupt.count


ROOMY, DRAFTING = {"num_blocks": 30}, {"num_blocks": 30, "ngram": NGram(3, 2, 1)}
PREEMPTING = {"num_blocks": 5, "max_num_batched_tokens": 8}


@pytest.mark.parametrize("settings", [ROOMY, PREEMPTING, DRAFTING], ids=["roomy", "preempting", "drafting"])
def test_an_interruption_at_any_bytecode_harms_nobody_else(settings):
    total = call_interrupted(settings, at=-1)
    assert total > 3_000
    for at in range(1, total, total // 100):
        call_interrupted(settings, at)


def test_an_interruption_of_the_recovery_is_recovered_from_too():
    for at in range(1, 4_000, 37):
        driver = Driver(engine(30))
        other, own = arrive(driver, PROMPTS[0]), arrive(driver, PROMPTS[1])
        steps = iter(range(3))
        driver.drive(lambda steps=steps: next(steps, None) is None)
        driver._is_broken = True
        driver.cancel([own])
        try:
            with Interrupt(at) as interrupt:
                driver.settle()
        except KeyboardInterrupt:
            driver.settle()
        driver.drive(lambda other=other: other.finished)
        assert tokens(other)[0] == expected(PROMPTS[0], 6)
        check_blocks(driver.engine.scheduler)
        if interrupt.count < at:
            return
    raise AssertionError("the recovery was never run to its end")


def test_threads_share_steps_and_none_waits_for_ever():
    driver = Driver(engine(200, max_num_seqs=8, max_num_batched_tokens=64))
    prompts = [[at % 7 + 1, at % 5 + 1, at + 1] for at in range(40)]
    together = threading.Barrier(8)

    def ask(own):
        together.wait()
        found = []
        for prompt in own:
            state = arrive(driver, prompt, 8)
            driver.drive(lambda state=state: state.finished)
            found.append((tokens(state)[0], state.metrics(0).max_concurrency))
            if prompt[2] % 3 == 0:
                driver.cancel([arrive(driver, prompt, 8)])
                driver.settle()
        return found

    with ThreadPoolExecutor(8) as pool:
        found = [pair for each in pool.map(ask, [prompts[at::8] for at in range(8)]) for pair in each]
    assert [ids for ids, _ in found] == [expected(prompt, 8) for at in range(8) for prompt in prompts[at::8]]
    assert max(together for _, together in found) > 1
    assert driver.engine.scheduler.blocks.num_free == 200


class Slow:
    """Delays each step of a device, so that other threads find the engine taken."""

    def __init__(self, driver: Driver) -> None:
        self.run, self.began = driver.engine.runner.run, threading.Event()
        driver.engine.runner.run = self

    def __call__(self, pieces):
        self.began.set()
        time.sleep(0.02)
        return self.run(pieces)


def test_who_settles_waits_for_a_step_and_not_for_all_of_anothers():
    driver = Driver(engine(60))
    slow = Slow(driver)
    long = arrive(driver, [1, 2, 3], 25, ignore_eos=True)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(driver.drive, lambda: long.finished)
        assert slow.began.wait(10)
        unwanted = arrive(driver, [4, 5], 50)
        driver.cancel([unwanted])
        driver.settle()
        assert unwanted.finished
        assert not long.finished
        running.result(timeout=20)


def test_the_line_is_gone_through_once_however_many_are_cancelled(monkeypatch):
    driver = Driver(engine(num_blocks=8))
    scheduler = driver.engine.scheduler
    remove, calls = scheduler.remove, []
    monkeypatch.setattr(scheduler, "remove", lambda gone: calls.append(len(gone)) or remove(gone))
    doomed = [arrive(driver, prompt) for prompt in PROMPTS * 20]
    kept = arrive(driver, [1, 2])
    driver.cancel(doomed)
    driver.settle()
    assert calls == [60]
    assert all(state.finished for state in doomed)
    driver.drive(lambda: kept.finished)
    assert tokens(kept) == [expected([1, 2], 6)]


def test_close_ends_what_others_wait_for_with_engine_lost():
    driver = Driver(engine(60))
    slow = Slow(driver)
    states = [arrive(driver, [at, 2, 3], 50, ignore_eos=True) for at in (1, 2, 3)]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(driver.drive, lambda state=state: state.finished) for state in states]
        assert slow.began.wait(10)
        driver.close()
        ended = [future.exception(timeout=20) for future in waiting]
    # Who looks late finds the result, who looks early that the engine is gone.
    assert all(error is None or isinstance(error, EngineLost) for error in ended)
    assert all(isinstance(state.error, EngineLost) for state in states)
    assert not driver.has_work
    driver.close()
    driver.cancel(states)
    driver.settle()
    with pytest.raises(EngineLost, match="closed"):
        arrive(driver, [1], 1)


def test_a_finalizer_that_calls_the_llm_in_the_middle_of_its_step_is_told_so():
    driver = Driver(engine(30))
    state = arrive(driver, [1, 2], 5)
    run = driver.engine.runner.run

    def calls_back(pieces):
        with pytest.raises(RuntimeError, match="finalizer"):
            driver.drive(lambda: False)
        driver.settle()
        return run(pieces)

    driver.engine.runner.run = calls_back
    driver.drive(lambda: state.finished)
    assert tokens(state)[0] == expected([1, 2], 5)
