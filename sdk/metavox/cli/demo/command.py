"""The verb: each step prints what it does, does it for real, and cleans up whatever happens."""

from __future__ import annotations

import importlib.util
import os
import signal
import tempfile
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shutil import rmtree
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from metavox.cli import console
from metavox.cli.demo import contribute, dataset
from metavox.cli.demo.collector import LocalCollector
from metavox.errors import MetaVoxError
from metavox.telemetry.home.folders import Home
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week

_AFTER_THE_GRACE = timedelta(days=11)
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NEEDED = ("torch", "transformers", "fastapi", "pyarrow")


def demo(
    prompts: Annotated[int, typer.Option(help="How many prompts to run.", min=1, max=1000)] = 64,
    installations: Annotated[int, typer.Option(help="How many simulated installations join.", min=1)] = 10000,
    out: Annotated[
        Path | None, typer.Option(help="Where to keep the dataset; else a new temporary folder.")
    ] = None,
) -> None:
    """Run, consent, contribute, release: the whole path on this machine, with nothing of yours touched."""
    _require_extras()
    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup asks to go on
            signal.signal(number, _end)
    if out is not None:
        _require_folder(out)
    screen = Console(soft_wrap=False)
    work = _new_folder()
    try:
        with ExitStack() as stack:
            written = _run(screen, stack, work, out or work, prompts, installations)
    except KeyboardInterrupt:
        rmtree(work, ignore_errors=True)
        console.fail("interrupted; everything the demo made is removed", code=130)
    except MetaVoxError as error:
        rmtree(work, ignore_errors=True)
        console.fail(str(error))
    except OSError as error:
        rmtree(work, ignore_errors=True)
        if isinstance(error, BrokenPipeError):  # whoever was listening has gone, and is told nothing
            raise
        console.fail(f"{error.filename or 'the demo'}: {error.strerror or error}")
    except BaseException:
        rmtree(work, ignore_errors=True)
        raise
    if out is not None:
        rmtree(work, ignore_errors=True)
    _step(screen, "The dataset is yours")
    dataset.how_to_query(screen, written)


def _end(number: int, frame: object) -> None:
    """Being ended cleans up as Ctrl-C does, and impatience while it does so leaves nothing behind."""
    for ending in _ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def _new_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="metavox-demo-"))
    except OSError as error:
        console.fail(f"no temporary folder can be made: {error.strerror}")


def _require_extras() -> None:
    if any(importlib.util.find_spec(module) is None for module in _NEEDED):
        console.fail('the demo needs more: pip install "metavox[collector,engine]"')


def _require_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        console.fail(f"--out {out} cannot be made: {error.strerror}", code=2)
    if not os.access(out, os.W_OK | os.X_OK):
        console.fail(f"--out {out} cannot be written", code=2)
    held = next(out.glob(f"metavox-{Week.of(datetime.now(timezone.utc))}-publish*"), None)
    if held is not None:  # told here, not by the collector at the end of the minute
        console.fail(f"--out {out} holds {held.name} already, and a dataset is never overwritten", code=2)


def _run(screen: Console, stack: ExitStack, work: Path, out: Path, prompts: int, installations: int) -> Path:
    week = Week.of(datetime.now(timezone.utc))
    later = week.end + _AFTER_THE_GRACE
    home = Home(work / "home", work / "home")
    for made in (home.state, work / "collector"):
        stack.callback(rmtree, made, ignore_errors=True)

    _step(screen, "A collector starts on this machine")
    collector = stack.enter_context(LocalCollector(work / "collector", later))
    screen.print(
        f"{collector.url}, SQLite, in a sandbox that pretends it is {later:%d %B %Y}, when {week} is over."
    )

    _step(screen, "The question that metavox asks once, after a first run in a terminal")
    consent = contribute.agree(screen, home, SCHEMA)

    _step(screen, f"{prompts} prompts on the bundled model")
    contribute.run_prompts(screen, prompts, contribute.pipeline(home))

    _step(screen, "What would be sent, exactly")
    mine = contribute.send(screen, home, consent, collector.url, later)

    _step(screen, f"{installations} simulated installations report too, through the same door")
    collector.run("simulate", "--installations", str(installations), "--week", str(week), "--url", collector.url)

    _step(screen, f"{week} is closed: noise is drawn, the reports are destroyed")
    collector.run("close", "--week", str(week), "--db", collector.db, "--now", later.isoformat())
    written = collector.preview(week, out)

    _step(screen, "What a buyer sees")
    dataset.show(screen, written, mine)
    return written


def _step(screen: Console, title: str) -> None:
    screen.print()
    screen.print(Rule(title, align="left") if len(title) + 4 <= screen.width else title, highlight=False)
