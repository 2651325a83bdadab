from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from metavox import LLM
from metavox.cli.bench import limits, measure, report, table
from metavox.cli.bench.limits import Limit, Machine, Work
from metavox.cli.bench.measure import Figures, Workload
from metavox.cli.bench.report import Report, Result
from metavox.engine.runner import Runner
from metavox.outputs import RequestMetrics
from metavox.telemetry.home.folders import Home
from tests.unit.sdk.cli.shared import SILENT, run
from tests.unit.sdk.telemetry.shared import agree

QUICK = ("bench", "--num-seqs", "2,1", "--input-len", "24", "--output-len", "4", "--rounds", "1", "--warmup", "0")
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background has it ignored
sys.argv = ["metavox", *sys.argv[1:]]
from metavox.cli import main
main()
"""


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM("metavox/tiny", max_num_seqs=4, num_kv_blocks=64) as loaded:
        yield loaded


def runner_of(llm: LLM) -> Runner:
    runner = llm._driver.engine.runner
    assert isinstance(runner, Runner)
    return runner


def metrics(
    *times: float, first_token: float | None = None, prompt: int = 10, arrival: float = 1.0
) -> RequestMetrics:
    return RequestMetrics(
        arrival_time_ns=0,
        arrival_time=arrival,
        first_scheduled_time=arrival,
        first_token_time=times[0] if first_token is None else first_token,
        finished_time=times[-1],
        token_times=(times,),
        num_prompt_tokens=prompt,
        num_cached_tokens=0,
        num_generation_tokens=len(times),
        max_concurrency=1,
        device_memory_bytes=0,
    )


def test_json_is_one_object_with_the_figures_of_each_number_and_nothing_else(tmp_path: Path):
    result = run(tmp_path / "home", *QUICK, "--json")

    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert {"model", "architecture", "dtype", "quantization", "device", "num_threads", "engine_version"} <= set(
        document
    )
    assert (document["model"], document["num_seqs"], document["input_len"]) == ("metavox/tiny", [2, 1], 24)
    assert set(document["native_ops"]) == {"attention", "elementwise", "linear", "sample"}, (
        "not the threads they share"
    )
    assert min(document["machine"].values()) > 1e6
    assert [one["num_seqs"] for one in document["results"]] == [2, 1]
    for one in document["results"]:
        assert len(one["rounds"]) == 1
        assert {name: one[name] for name in one["rounds"][0]} == one["rounds"][0]
        for name in ("prefill", "decode"):
            limit = one["limits"][name]
            assert limit["bound"] in ("memory", "compute")
            assert limit["reached"] == one[f"{name}_tokens_per_second"] / limit["tokens_per_second"]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("columns", [80, 40])
def test_text_tells_the_same_figures_in_the_lines_of_a_terminal(tmp_path: Path, columns: int):
    result = run(tmp_path, *QUICK, "--quantization", "int8", "--kv-cache-dtype", "int8", COLUMNS=str(columns))

    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= columns
    words = " ".join(result.stdout.split())
    assert "int8 weights, int8 KV cache" in words
    assert "Prompts of 24 tokens, outputs of 4; one round" in words
    assert re.search(r"loaded in \d", words)


def test_a_c_locale_breaks_nothing(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *QUICK],
        env={**os.environ, "METAVOX_HOME": str(tmp_path), "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"tok/s" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--num-seqs", "1,x"], 2, "--num-seqs takes positive numbers with commas"),
        (["--num-seqs", ""], 2, "--num-seqs takes"),
        (["--num-seqs", "0"], 2, "--num-seqs takes"),
        (["--num-seqs", "1" * 30], 2, "--num-seqs takes"),
        (["--output-len", "1"], 2, "--output-len"),
        (["--input-len", "0"], 2, "--input-len"),
        (["--rounds", "0"], 2, "--rounds"),
        (["--warmup", "-1"], 2, "--warmup"),
        (["--input-len", "1000", "--output-len", "25"], 1, "are 1025 tokens together, and the context is 1024"),
        (["--max-model-len", "20"], 1, "and the context is 20"),
        (["--max-model-len", "2000"], 1, "more than the model's context of 1024"),
        (["--max-num-batched-tokens", "1"], 1, "max_num_batched_tokens"),
        (["--model", "no/such/folder/at/all"], 1, "no/such/folder"),
        (["--device", "abacus"], 1, "abacus"),
        (["--dtype", "float8"], 1, "float8"),
        (["--quantization", "int3"], 1, "int3"),
        (["--quantize-lm-head"], 1, "quantize_lm_head needs quantization"),
        (["--kv-cache-dtype", "int4"], 1, "kv_cache_dtype"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_told_on_standard_error(tmp_path: Path, arguments: list[str], code: int, words: str):
    result = run(tmp_path, *QUICK, "--json", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    if code == 1:
        assert result.stderr.startswith("metavox: ")
        assert result.stderr.count("\n") == 1


def test_a_yes_counts_what_is_generated_and_never_what_is_measured(tmp_path: Path):
    agree(Home(tmp_path, tmp_path), since=datetime.now(timezone.utc) - timedelta(days=1))
    run_to_its_end(tmp_path, *QUICK)
    assert not (tmp_path / "journal.sqlite3").exists()

    run_to_its_end(tmp_path, "generate", "Once", "--max-tokens", "4")
    assert (tmp_path / "journal.sqlite3").exists()


def run_to_its_end(home: Path, *arguments: str) -> None:
    """A process of its own, which has written all that it counted when it is over."""
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        env={**environment, "METAVOX_HOME": str(home)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *QUICK, "--rounds", "1000000", "--json"],
        stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "METAVOX_HOME": str(tmp_path), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    screen = ""
    try:
        while "round 2" not in screen:
            screen += os.read(ours, 65536).decode()
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline
            screen += _read(ours)
        screen += _read(ours)
        assert process.stdout is not None
        with closing(process.stdout):
            assert process.stdout.read() == b""
    finally:
        process.kill()
        process.wait()
        os.close(ours)

    assert process.returncode == 130
    assert "metavox: interrupted" in screen
    assert "Traceback" not in screen


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode()
    except OSError:  # Linux says EIO when the other side has closed
        return ""


def test_prefill_is_measured_without_decode_and_decode_without_prefill(llm: LLM):
    prompts = measure.random_prompts("a", 4, 40, 2048)
    first, again = measure._generate(llm, prompts, 1), measure._generate(llm, prompts, 3)

    assert [one.num_cached_tokens for one in first] == [0, 0, 0, 0]
    assert [one.num_cached_tokens for one in again] == [32, 32, 32, 32]
    assert {one.max_concurrency for one in again} == {4}


def test_prompts_are_the_same_each_time_and_others_in_each_round(llm: LLM, monkeypatch: pytest.MonkeyPatch):
    seen: list[Any] = []
    monkeypatch.setattr(measure, "_run_round", lambda _, prompts, length: seen.append(prompts))
    for _ in range(2):
        assert len(measure.run_rounds(llm, Workload((3,), 20, 4, 2, 1), 3, 50, lambda _: None)) == 2

    assert seen[:3] == seen[3:]
    prompts = [tuple(prompt) for prompts in seen[:3] for prompt in prompts]
    assert len(set(prompts)) == 9
    assert {len(prompt) for prompt in prompts} == {20}
    assert all(0 <= token < 50 for prompt in prompts for token in prompt)


def test_figures_are_those_of_the_clock():
    prefill = [metrics(1.5, arrival=1.0), metrics(3.0, arrival=1.0), metrics(2.0, arrival=1.0)]
    # All three decode after 5.0, when the last begins, until 8.0, when the first ends.
    decode = [
        metrics(4.0, 5.0, 6.0, 7.0, 8.0),
        metrics(4.5, 5.5, 6.5, 7.5, 8.5),
        metrics(5.0, 7.0, 9.0, 11.0, 13.0),
    ]

    assert measure.figures(prefill, decode) == Figures(
        prefill_tokens_per_second=30 / 2.0,
        time_to_first_token=1.0,
        decode_tokens_per_second=(3 + 3 + 1) / 3.0,
        time_per_output_token=1.0,
    )
    short = [metrics(4.0, 5.0), metrics(5.0, 6.0)]
    assert measure.figures(prefill, short).decode_tokens_per_second is None


def test_the_medians_are_of_each_figure():
    rounds = [Figures(1.0, 5.0, None, 2.0), Figures(3.0, 4.0, 8.0, 1.0), Figures(2.0, 6.0, 10.0, 3.0)]

    assert measure.medians(rounds) == Figures(2.0, 5.0, 9.0, 2.0)
    assert measure.medians(rounds[:1]) == Figures(1.0, 5.0, None, 2.0)


def test_a_step_must_read_the_weights_once_and_what_each_sequence_sees():
    work = Work(1000, 30.0, 400, 100, 7, (None, 8, None))
    reader, computer = Machine(10.0, 1e9), Machine(1e9, 10.0)

    assert work.decode(reader, 2, 20).seconds == pytest.approx((1000 + 2 * (20 + 8 + 20) * 10) / 10)
    assert work.decode(reader, 2, 20).bound == "memory"
    assert work.decode(computer, 2, 20).seconds == pytest.approx((2 * 2 * 500 + 4 * 2 * 48 * 7) / 10)
    assert work.decode(computer, 2, 20).bound == "compute"


def test_prefill_must_compute_every_pair_of_a_token_and_one_it_sees():
    windows = (None, 3, 100)
    work = Work(1000, 30.0, 400, 100, 7, windows)
    pairs = sum(min(at + 1, window or 10) for window in windows for at in range(10))

    assert work.prefill(Machine(1e9, 10.0), 2, 10).seconds == pytest.approx(
        (2 * 2 * (10 * 400 + 100) + 4 * 2 * pairs * 7) / 10
    )


def test_the_work_is_that_of_the_loaded_model(llm: LLM):
    runner = runner_of(llm)
    work = limits.work_of(runner)
    assert work is not None

    assert work.weight_bytes == runner.model.nbytes >= 4 * 3_476_224  # tied: the table is read as output matrix
    assert work.layer_parameters + work.head_parameters == 3_476_224
    assert work.head_parameters == 2048 * 256
    assert work.kv_bytes_per_token == 4 * 2 * 2 * 64 * 4  # layers, keys and values, heads, width, float32
    assert (work.attention_width, work.windows) == (256, (None,) * 4)


def test_a_table_of_embeddings_that_is_nothing_else_is_not_read(llm: LLM):
    runner = runner_of(llm)
    model: Any = SimpleNamespace(**vars(runner.model))
    model.lm_head = SimpleNamespace(nbytes=5)
    work = limits.work_of(SimpleNamespace(model=model, caches=runner.caches))  # type: ignore[arg-type]
    assert work is not None

    assert work.weight_bytes == runner.model.nbytes - runner.model.embed_tokens.nbytes
    assert work.layer_parameters == 3_476_224 - 2 * 2048 * 256


def test_no_limit_is_claimed_for_a_mixture_of_experts(llm: LLM):
    config = SimpleNamespace(experts=object())
    assert limits.work_of(SimpleNamespace(model=SimpleNamespace(config=config))) is None  # type: ignore[arg-type]

    said = a_report(work=None).as_text(80)
    assert report.NO_LIMIT in " ".join(said.split())
    assert a_report(work=None).as_document()["results"][0]["limits"]["decode"]["reached"] is None


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_the_machines_rates_are_those_of_something_that_ran(quantization: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "SECONDS", 0.01)
    machine = limits.measure_machine(torch.device("cpu"), 1, quantization, torch.float32)

    assert 1e8 < machine.read_bytes_per_second < 1e14
    assert 1e8 < machine.flops_per_second < 1e16


A_WORK = Work(10**9, 1000.0, 10**9, 10**8, 2048, (None,))


def a_report(*, work: Work | None = A_WORK, **changes: Any) -> Report:
    engine = {
        "model": "somebody/a-model-with-a-rather-long-name",
        "architecture": "Qwen3ForCausalLM",
        "num_parameters": 596_049_920,
        "dtype": "bfloat16",
        "quantization": None,
        "kv_cache_dtype": "auto",
        "device": "cpu",
        "hardware": "CPU x86-64 AVX-512",
        "num_threads": 2,
        "engine_version": "0.1.0",
        "torch_version": "2.13.0",
        "load_seconds": 1.5,
        "native_ops": {"linear": None, "sample": "no C compiler", "attention": "no C compiler"},
    }
    limit = None if work is None else Limit(0.5, "memory")
    figures = Figures(1234567.8, 98.7654, 987654.3, 0.0123)
    results = [Result(count, [figures], limit, limit) for count in (1, 4096)]
    whole = Report(engine, Workload((1, 4096), 128, 64, 3, 1), Machine(42e9, 813e9), work, results)
    return replace(whole, **changes)


@pytest.mark.parametrize("columns", [30, 40, 53, 60, 80, 200])
def test_no_number_is_cut_however_narrow_the_terminal(columns: int):
    text = a_report().as_text(columns)

    assert max(map(len, text.splitlines())) <= columns
    for number in ("4096", "1,234,568", "987,654", "12.3", "98,765", "42.0", "813", "596.0"):
        assert number in text.split(), text


def test_wide_terminals_get_a_table_and_narrow_ones_a_list():
    wide, narrow = a_report().as_text(80).splitlines(), a_report().as_text(40).splitlines()

    assert any(line.split()[:2] == ["4096", "1,234,568"] for line in wide)
    assert any(line.split() == ["decode", "tok/s", "987,654"] for line in narrow)


def test_what_is_not_compiled_is_told_with_its_reason():
    lines = a_report().as_text(200).splitlines()

    assert "Compiled ops: linear" in lines
    assert "Not compiled: sample, attention: no C compiler" in lines


def test_outputs_too_short_to_all_decode_at_once_are_told():
    never = Result(4, [Figures(10.0, 1.0, None, 0.1)], Limit(1.0, "compute"), Limit(1.0, "memory"))
    told = a_report(results=[never])

    assert told.as_document()["results"][0]["decode_tokens_per_second"] is None
    assert table.HEADERS[3] == ("decode", "tok/s")
    assert report.TOO_SHORT in " ".join(told.as_text(80).split())
    assert report.TOO_SHORT not in " ".join(a_report().as_text(80).split())


def test_rounds_that_differ_much_are_told():
    steady, slow = Figures(10.0, 1.0, 20.0, 0.1), Figures(9.0, 1.0, 10.0, 0.1)
    limit = Limit(1.0, "memory")
    unsteady = a_report(results=[Result(1, [steady], limit, limit), Result(8, [steady, slow], limit, limit)])

    assert "The best round was 2.0 times as fast as the worst" in " ".join(unsteady.as_text(80).split())
    assert "The best round" not in a_report(results=[Result(1, [steady, steady], limit, limit)]).as_text(80)


def test_a_busy_moment_does_not_lower_the_limit():
    assert Machine(10.0, 5.0).better(Machine(7.0, 8.0)) == Machine(10.0, 8.0)
