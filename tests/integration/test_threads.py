"""One LLM for many threads, many in one process, and interruptions at any moment."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from metavox import LLM, SamplingParams
from metavox.errors import EngineLost, InvalidRequest
from tests.checkpoints import write_checkpoint
from tests.integration.shared import GREEDY, assert_idle, some_prompts, token_ids

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = SamplingParams(seed=1, max_tokens=60, ignore_eos=True)


@pytest.fixture
def llm(folder):
    with LLM(folder, num_kv_blocks=60, max_num_batched_tokens=64) as llm:
        yield llm


def test_calls_from_many_threads_run_together_and_give_what_they_give_alone(llm):
    prompts = some_prompts(24)
    expected = [llm.generate(prompt, LONG).outputs[0] for prompt in prompts]
    together = threading.Barrier(8)

    def ask(at):
        together.wait()
        found = []
        for number in range(at, 24, 8):
            if number % 2:
                found.append(llm.generate(prompts[number], LONG))
            else:
                chunks = list(llm.stream(prompts[number], LONG))
                assert "".join(map(str, chunks)) == expected[number].text
                assert [token for chunk in chunks for token in chunk.token_ids] == expected[number].token_ids
                found.append(chunks[-1].output)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = dict(enumerate(pool.map(ask, range(8))))
    for at, outputs in found.items():
        assert [output.outputs[0] for output in outputs] == expected[at::8]
    assert max(output.metrics.max_concurrency for outputs in found.values() for output in outputs) >= 4
    assert_idle(llm)


def test_stop_strings_are_not_seen_by_a_thread_that_reads_while_another_steps(llm):
    """The readers look at texts that somebody else is writing, at any moment."""
    free = llm.generate("the", SamplingParams(seed=1, max_tokens=100, ignore_eos=True)).outputs[0].text
    params = SamplingParams(seed=1, max_tokens=100, ignore_eos=True, stop=[free[50:56], free[20:23] + "\u1234"])
    expected = llm.generate("the", params).outputs[0].text
    busy = threading.Event()

    def step():
        while not busy.is_set():
            llm.generate(some_prompts(4), LONG)

    with ThreadPoolExecutor(5) as pool:
        stepping = pool.submit(step)
        try:
            for _ in range(3):
                texts = pool.map(lambda _: "".join(map(str, llm.stream("the", params))), range(4))
                assert list(texts) == [expected] * 4
        finally:
            busy.set()
        stepping.result()
    assert_idle(llm)


@contextlib.contextmanager
def ctrl_c_after(seconds: float):
    """Ctrl-C at that moment, unless the block is over by then."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)  # the alarm is that of the tests' own time limit
    timer = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_ctrl_c_at_any_moment_frees_everything_and_the_next_call_is_right(llm):
    draw, prompts = random.Random(0), some_prompts(6)
    began = time.monotonic()
    expected = token_ids(llm.generate(prompts, LONG))
    usual, interrupted = time.monotonic() - began, 0
    for number in range(40):
        try:
            with ctrl_c_after(usual * draw.uniform(0.001, 0.9)):
                if number % 3:
                    llm.generate(prompts, LONG)
                else:
                    list(llm.stream(prompts[0], LONG))
        except KeyboardInterrupt:
            interrupted += 1
        assert_idle(llm)
        if number % 8 == 0:
            assert token_ids(llm.generate(prompts, LONG)) == expected
    assert interrupted > 10
    assert token_ids(llm.generate(prompts, LONG)) == expected


def was_interrupted(llm, prompts, seconds) -> bool:
    try:
        with ctrl_c_after(seconds):
            llm.generate(prompts, LONG)
    except KeyboardInterrupt:
        return True
    return False


def test_ctrl_c_harms_no_other_threads_request(llm):
    draw, prompts = random.Random(1), some_prompts(8)
    expected = token_ids([llm.generate(prompt, LONG) for prompt in prompts])
    over = threading.Event()

    def others(seed):
        own, number = random.Random(seed), 0
        while not over.is_set():
            at = own.randrange(8)
            assert llm.generate(prompts[at], LONG).outputs[0].token_ids == expected[at]
            number += 1
        return number

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(others, seed) for seed in range(3)]
        try:
            interrupted = sum(was_interrupted(llm, prompts, draw.uniform(0.0005, 0.1)) for _ in range(40))
        finally:
            over.set()
        assert all(future.result(timeout=60) > 0 for future in running)
    assert interrupted > 5
    assert_idle(llm)


def test_a_step_that_fails_ends_what_ran_in_it_and_nothing_else(llm, monkeypatch):
    expected = token_ids(llm.generate(some_prompts(3), GREEDY))
    model, calls = llm._driver.engine.runner.model, []
    forward = model.forward

    def fails_once(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise RuntimeError("the device is unwell")
        return forward(*arguments)

    monkeypatch.setattr(model, "forward", fails_once)
    with pytest.raises(RuntimeError, match="unwell"):
        llm.generate(some_prompts(3), GREEDY)
    assert_idle(llm)
    assert token_ids(llm.generate(some_prompts(3), GREEDY)) == expected
    assert_idle(llm)


def test_a_step_that_fails_is_told_to_every_thread_that_had_a_request_in_it(llm, monkeypatch):
    model, together = llm._driver.engine.runner.model, threading.Barrier(3)
    forward, broken = model.forward, threading.Event()

    def fails(*arguments):
        if broken.is_set():
            raise RuntimeError("the device is unwell")
        return forward(*arguments)

    def ask(prompt):
        stream = llm.stream(prompt, LONG)
        next(stream)
        together.wait()
        broken.set()
        with pytest.raises(RuntimeError, match="unwell"):
            list(stream)

    monkeypatch.setattr(model, "forward", fails)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ask, some_prompts(3)))
    broken.clear()
    assert llm.generate("the", GREEDY).finished
    assert_idle(llm)


def test_several_llms_work_side_by_side(folder, tmp_path):
    other = write_checkpoint(tmp_path, "llama", seed=5)
    llms = [LLM(folder), LLM(other), LLM(folder, num_kv_blocks=20)]
    prompts = some_prompts(5)
    expected = [token_ids(llm.generate(prompts, GREEDY)) for llm in llms]
    assert expected[0] == expected[2] != expected[1]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            found = pool.map(lambda at: token_ids(llms[at % 3].generate(prompts, GREEDY)), range(6))
            assert list(found) == expected * 2
    llms[0].close()
    assert token_ids(llms[1].generate(prompts, GREEDY)) == expected[1]


def test_a_closed_llm_says_so_and_can_be_closed_again(folder):
    with LLM(folder) as llm:
        assert llm.generate("the", GREEDY).finished
    for use in (llm.generate, llm.stream):
        with pytest.raises(EngineLost, match="closed; load the model again"):
            use("the", GREEDY)
    llm.close()
    assert llm.info.architecture == "Qwen3ForCausalLM"


def test_closing_that_was_interrupted_can_be_done_again(folder, monkeypatch):
    llm = LLM(folder)
    driver = llm._driver
    close = driver.engine.close

    def interrupted():
        close()
        raise KeyboardInterrupt

    monkeypatch.setattr(driver.engine, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        llm.close()
    monkeypatch.setattr(driver.engine, "close", close)
    llm.close()
    assert not hasattr(driver.engine.runner, "model")


def test_closing_ends_what_other_threads_wait_for(folder):
    llm = LLM(folder)
    together = threading.Barrier(4)

    def ask(prompt):
        stream = llm.stream(prompt, LONG)
        next(stream)
        together.wait()
        with contextlib.suppress(EngineLost):
            while True:
                list(stream)
                stream = llm.stream(prompt, LONG)
        return "was told"

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, prompt) for prompt in some_prompts(3)]
        together.wait()
        llm.close()
        assert [future.result(timeout=20) for future in asking] == ["was told"] * 3


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_an_llm_that_is_gone_leaves_no_thread_and_no_memory(folder, how):
    before = set(threading.enumerate())
    llm = LLM(folder)
    llm.generate("the", GREEDY)
    model, cache = (
        weakref.ref(part) for part in (llm._driver.engine.runner.model, llm._driver.engine.runner.caches[0])
    )
    assert set(threading.enumerate()) - before
    if how == "closed":
        llm.close()
    else:
        del llm
    gc.collect()
    until = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
    assert model() is cache() is None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_fork_is_told_to_load_the_model_itself(llm):
    stream = llm.stream("the", LONG)
    next(stream)
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                llm.generate("the", GREEDY)
            except EngineLost as error:
                stream.close()
                llm.close()
                code = 0 if "Load the model after forking" in str(error) else 2
        os._exit(code)
    until = time.monotonic() + 30
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.01)
    assert found == (child, 0), "the child hung" if found[0] == 0 else found
    assert len(list(stream)) > 50
    assert_idle(llm)


class CallsBack(SpanProcessor):
    """A user's processor that asks the model about the model."""

    def __init__(self, llm):
        self.llm, self.answers, self.depth = llm, [], 0

    def on_end(self, span):
        if self.depth < 2:
            self.depth += 1
            self.answers.append(self.llm.generate("the", GREEDY))


def test_a_span_processor_may_call_the_same_llm(llm, monkeypatch):
    processor, provider = CallsBack(llm), TracerProvider()
    provider.add_span_processor(processor)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # the public function sets it once for the process
    expected = llm.generate("the", GREEDY).outputs
    assert [answer.outputs for answer in processor.answers] == [expected, expected]
    assert_idle(llm)


def test_a_refused_request_of_one_thread_disturbs_no_other(llm):
    def ask(at):
        if at % 2:
            with pytest.raises(InvalidRequest):
                llm.generate({"prompt_token_ids": [4] * 300}, GREEDY)
            return None
        return llm.generate("the", GREEDY).outputs

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(12)))
    assert found[::2] == [llm.generate("the", GREEDY).outputs] * 6


class Terminal:
    """Standard error as a terminal, kept."""

    def __init__(self):
        self.written = []

    def write(self, text):
        self.written.append(text)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True

    encoding = "utf-8"


@pytest.mark.parametrize("use_tqdm", [True, False])
def test_a_terminal_is_shown_the_rate(llm, monkeypatch, use_tqdm):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("metavox.progress.REFRESH", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    llm.generate(some_prompts(8), LONG, use_tqdm=use_tqdm)
    written = "".join(terminal.written)
    assert ("Generating" in written) == ("tokens/s" in written) == ("/8" in written) == use_tqdm
    llm.generate("the", GREEDY)
    assert "".join(terminal.written) == written, "nothing for a single prompt"
