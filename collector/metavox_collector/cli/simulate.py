"""``metavox-collector simulate``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from metavox_collector.cli.options import WeekOption
from metavox_collector.simulate.fleet import fleet
from metavox_collector.simulate.send import Outcome, send
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA


def simulate(
    week: WeekOption,
    url: Annotated[str, typer.Option(help="The collector, like http://127.0.0.1:8320; it must be a sandbox.")],
    installations: Annotated[int, typer.Option(help="How many installations report.", min=1)] = 1000,
    seed: Annotated[int | None, typer.Option(help="Makes the same fleet again.")] = None,
) -> None:
    """Send a synthetic fleet's week through the real anonymizer to a sandbox."""
    console = Console(stderr=True, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        reports = _counted(fleet(installations, week, SCHEMA, seed=seed), progress, installations)
        outcome = send(reports, url, SCHEMA)
    console.print(_words(outcome), highlight=False)
    if outcome.rejected_spans:
        raise typer.Exit(1)


def _counted(reports: Iterable[Report], progress: Progress, total: int) -> Iterator[Report]:
    """Show how far it is. Rich's own ``track`` keeps a thread alive when sending fails, and so the process."""
    task = progress.add_task("simulating", total=total)
    for report in reports:
        yield report
        progress.advance(task)


def _words(outcome: Outcome) -> str:
    sent = f"sent {outcome.reports} synthetic reports ({outcome.spans} cells) in {outcome.requests} requests"
    return f"{sent}; {outcome.rejected_spans} cells {outcome.message}" if outcome.rejected_spans else sent
