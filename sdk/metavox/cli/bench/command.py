"""The verb: load, measure, tell."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metavox.cli import console
from metavox.cli.options import Device, Dtype, KvCacheDtype, MaxModelLen, Model, Quantization, QuantizeLmHead
from metavox.errors import InvalidArgument, MetaVoxError

if TYPE_CHECKING:
    from metavox import LLM
    from metavox.cli.bench.measure import Workload
    from metavox.cli.bench.report import Report

BLOCK_SIZE = 16
SPARE_BLOCKS = 1  # for each sequence: the engine runs a step ahead of what it knows to be the last


def bench(
    model: Model = "metavox/tiny",
    num_seqs: Annotated[str, typer.Option(help="How many sequences at once, with commas.")] = "1,8,32",
    input_len: Annotated[int, typer.Option(help="Tokens of each prompt.", min=1)] = 128,
    output_len: Annotated[int, typer.Option(help="Tokens generated for each.", min=2)] = 64,
    rounds: Annotated[int, typer.Option(help="Measured rounds; their medians are given.", min=1)] = 3,
    warmup: Annotated[int, typer.Option(help="Rounds before them that do not count.", min=0)] = 1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantization = None,
    quantize_lm_head: QuantizeLmHead = False,
    kv_cache_dtype: KvCacheDtype = "auto",
    max_model_len: MaxModelLen = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(help="The most tokens in one step.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast a model runs on this machine, and how much of the machine's own limit that is."""
    counts = _counts(num_seqs)
    workload = _workload(counts, input_len, output_len, rounds, warmup)
    settings = {
        "device": device,
        "dtype": dtype,
        "quantization": quantization,
        "quantize_lm_head": quantize_lm_head,
        "kv_cache_dtype": kv_cache_dtype,
        "max_model_len": max_model_len,
        "max_num_batched_tokens": max_num_batched_tokens,
    }
    try:
        report = _run(model, settings, workload)
    except MetaVoxError as error:
        console.fail(str(error))
    except KeyboardInterrupt:
        console.fail("interrupted", code=130)
    if as_json:
        console.answer(json.dumps(report.as_document(), indent=2))
    else:
        console.answer(report.as_text(console.columns()))


def _counts(text: str) -> tuple[int, ...]:
    """The numbers of a list such as "1,8,32", each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"0*[1-9][0-9]{0,8}", part) for part in parts):
        console.fail(f"--num-seqs takes positive numbers with commas, such as 1,8,32, and was {text!r}", code=2)
    return tuple(dict.fromkeys(map(int, parts)))


def _workload(counts: tuple[int, ...], input_len: int, output_len: int, rounds: int, warmup: int) -> Workload:
    from metavox.cli.bench.measure import Workload

    return Workload(counts, input_len, output_len, rounds, warmup)


def _run(model: str, settings: dict[str, Any], workload: Workload) -> Report:
    from metavox import LLM
    from metavox.cli.bench.report import Report

    began = time.perf_counter()
    with console.watched() as say:
        say(f"Loading {model}")
        with LLM(
            model,
            **settings,
            max_num_seqs=max(workload.num_seqs),
            block_size=BLOCK_SIZE,
            num_kv_blocks=_num_blocks(workload, settings["max_model_len"]),
        ) as llm:
            load_seconds = time.perf_counter() - began
            check_fits(llm, workload)
            contribute_nothing(llm)
            return Report.of(llm, settings, workload, load_seconds, say)


def _num_blocks(workload: Workload, max_model_len: int | None) -> int:
    """Room for every sequence at once, so that none waits for another's blocks."""
    each = -(-(workload.input_len + workload.output_len) // BLOCK_SIZE) + SPARE_BLOCKS
    return max(each * max(workload.num_seqs), -(-(max_model_len or 0) // BLOCK_SIZE))


def check_fits(llm: LLM, workload: Workload) -> None:
    """Refuse prompts and outputs that the model's context does not hold; raises InvalidArgument."""
    asked, room = workload.input_len + workload.output_len, llm.info.max_model_len
    if asked > room:
        raise InvalidArgument(
            f"--input-len and --output-len are {asked} tokens together, and the context is {room}; lower one."
        )


def contribute_nothing(llm: LLM) -> None:
    """Keep these requests out of the journal, whatever was agreed to: they are made up, and nobody's use.

    The user's own tracer provider, where there is one, still gets their spans.
    """
    from metavox.telemetry.contribution import Contribution
    from metavox.telemetry.recorder import Recorder
    from metavox_privacy.consent import Consent, off

    def no_journal(consent: Consent) -> Any:
        raise AssertionError(consent)

    llm.recorder = Recorder(llm.info, Contribution(lambda: off("a benchmark is never counted"), no_journal))
