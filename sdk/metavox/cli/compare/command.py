"""The verb: get the newest release, measure or look up, tell."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metavox.cli import console
from metavox.cli.options import Device, Dtype, KvCacheDtype, MaxModelLen, Quantization, QuantizeLmHead

if TYPE_CHECKING:
    from metavox.telemetry.compare.released import PublicRelease
    from metavox.telemetry.compare.standing import Comparison, Own

BUNDLED = "metavox/tiny"
VARIABLE = "METAVOX_COLLECTOR_URL"
WARMUP = 1
_OF_A_RUN = (
    *("runs", "num_seqs", "input_len", "output_len", "device", "dtype", "quantization", "quantize_lm_head"),
    *("kv_cache_dtype", "max_model_len"),
)


def compare(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="A public model's hub id; else the bundled one, or the journal's most used.")
    ] = None,
    url: Annotated[str | None, typer.Option(help=f"The collector, else what {VARIABLE} names.")] = None,
    release: Annotated[Path | None, typer.Option(help="A release that was downloaded before; asks nobody.")] = None,
    journal: Annotated[
        bool, typer.Option("--journal", help="Run nothing: take what the journal of contributions has counted.")
    ] = False,
    runs: Annotated[int, typer.Option(help="How often it is run.", min=1, max=100_000)] = 10,
    num_seqs: Annotated[int, typer.Option(help="How many sequences at once.", min=1, max=4096)] = 1,
    input_len: Annotated[int, typer.Option(help="Tokens of each prompt.", min=1)] = 128,
    output_len: Annotated[int, typer.Option(help="Tokens generated for each.", min=2)] = 64,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantization: Quantization = None,
    quantize_lm_head: QuantizeLmHead = False,
    kv_cache_dtype: KvCacheDtype = "auto",
    max_model_len: MaxModelLen = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where this machine stands among those that contribute, from the newest public release."""
    _check_usage(context, url, release, journal=journal)
    settings = {
        "device": device,
        "dtype": dtype,
        "quantization": quantization,
        "quantize_lm_head": quantize_lm_head,
        "kv_cache_dtype": kv_cache_dtype,
        "max_model_len": max_model_len,
    }
    workload = (num_seqs, input_len, output_len, runs)
    from metavox.errors import MetaVoxError
    from metavox.telemetry.compare.standing import NothingToCompare
    from metavox.telemetry.compare.standing import compare as beside
    from metavox_privacy.schema import SCHEMA

    try:
        found = _release(url, release)
        own, about = _journaled(model) if journal else _measured(model or BUNDLED, settings, workload, found)
        comparison = beside(own, found, SCHEMA)
    except (MetaVoxError, NothingToCompare) as error:
        console.fail(str(error))
    except KeyboardInterrupt:
        console.fail("interrupted", code=130)
    if as_json:
        from metavox.cli.compare.report import as_document

        console.answer(json.dumps(as_document(comparison, about), indent=2))
    else:
        _show(comparison, about)


def _check_usage(context: typer.Context, url: str | None, release: Path | None, *, journal: bool) -> None:
    if url is not None and release is not None:
        console.fail("--url and --release each say where the release is; choose one", code=2)
    given = [name for name in _OF_A_RUN if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if journal and given:
        option = f"--{given[0].replace('_', '-')}"
        console.fail(f"--journal runs nothing, so that {option} would say nothing; leave out one of them", code=2)


def _release(url: str | None, file: Path | None) -> PublicRelease:
    """The release, whether it lies here or at a collector."""
    from metavox.telemetry.compare.released import NotARelease, parse_release

    data, name = (_fetched(url), "what the collector answered") if file is None else (_read(file), str(file))
    try:
        return parse_release(data)
    except NotARelease as error:
        console.fail(f"{name} is no release that can be compared: {error}")


def _read(file: Path) -> bytes:
    from metavox.telemetry.compare.released import LONGEST

    try:
        with open(file, "rb") as opened:
            return opened.read(LONGEST + 1)
    except OSError as error:
        console.fail(f"--release {file}: {error.strerror or error}", code=2)


def _fetched(url: str | None) -> bytes:
    """Ask the collector for its newest release: one request, which says nothing of who asks."""
    from metavox.telemetry.upload.uploader import Address, Refused, Unreachable, fetch_release

    named = os.environ.get(VARIABLE) if url is None else url
    if not named:
        console.fail(
            f"no collector is named: give --url or set {VARIABLE}, or give a downloaded file with --release"
        )
    try:
        address = Address.parse(named)
    except ValueError as error:
        console.fail(f"{VARIABLE if url is None else '--url'}: {error}", code=1 if url is None else 2)
    with console.watched() as say:
        say("Getting the newest release")
        answer = fetch_release(address)
    if isinstance(answer, Unreachable):
        console.fail(f"no release came from {named}: {answer.reason}; try again, or give another collector")
    if isinstance(answer, Refused) and answer.status == 404:
        console.fail(f"{named} has no public release yet; it has one once a week is closed there")
    if isinstance(answer, Refused):
        console.fail(f"{named} answered with status {answer.status} and no release; try again later")
    return answer


def _measured(
    model: str, settings: dict[str, Any], size: tuple[int, int, int, int], release: PublicRelease
) -> tuple[Own, dict[str, Any]]:
    """This machine's times, from requests that are run now."""
    from metavox.cli.bench.measure import Workload
    from metavox.cli.compare.own import measured
    from metavox.telemetry.compare.standing import NothingToCompare, released_for, require_named
    from metavox_privacy.schema import SCHEMA

    word = SCHEMA.dimension["model"].kind.classify(model)
    require_named("model", word)  # before it is loaded, which may take minutes
    if not released_for(release, "model", word):
        raise NothingToCompare(f"the release of {release.week} has nothing for {word}; choose another with --model")
    num_seqs, input_len, output_len, runs = size
    with console.watched() as say:
        own = measured(model, settings, Workload((num_seqs,), input_len, output_len, runs, WARMUP), say)
    return own, {"source": "run", "input_len": input_len, "output_len": output_len, "num_seqs": num_seqs}


def _journaled(model: str | None) -> tuple[Own, dict[str, Any]]:
    """This machine's times, from what was counted."""
    from metavox.cli.compare.own import journaled
    from metavox.cli.telemetry.shared import clear_errors
    from metavox.telemetry.compare.standing import require_named
    from metavox_privacy.schema import SCHEMA

    word = None if model is None else SCHEMA.dimension["model"].kind.classify(model)
    if word is not None:
        require_named("model", word)
    with clear_errors():
        own, week = journaled(word)
    return own, {"source": "journal", "week": week}


def _show(comparison: Comparison, about: dict[str, Any]) -> None:
    from rich.console import Console

    from metavox.cli.compare.report import as_lines

    screen = Console(highlight=False, soft_wrap=True)
    lines = as_lines(comparison, _own_words(comparison.own, about), console.columns(), ascii_only=_is_ascii(screen))
    with screen.capture() as captured:
        for line in lines:
            screen.print(line)
    console.answer(captured.get().rstrip("\n"))


def _is_ascii(screen: Any) -> bool:
    return bool(screen.options.ascii_only)


def _own_words(own: Own, about: dict[str, Any]) -> str:
    if about["source"] == "journal":
        number = "" if own.requests is None else f", {own.requests:,} request{'s' if own.requests > 1 else ''}"
        return f"your journal of {about['week']}{number}"
    return (
        f"{own.requests:,} requests run now, prompts of {about['input_len']:,} tokens and outputs of "
        f"{about['output_len']:,}"
    )
