"""``metavox-collector audit``."""

from __future__ import annotations

import os
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from metavox_collector import settings
from metavox_collector.cli.options import Config, Json
from metavox_collector.errors import AuditEnded
from metavox_collector.operate.files import new_file
from metavox_collector.proof import canonical
from metavox_collector.proof.audit import NIGHT, audit_this_code
from metavox_collector.settings import Settings
from metavox_privacy.audit import TRIALS, AuditReport, Game
from metavox_privacy.fields import PURPOSES

_ROOM = 112
"""Columns that the table takes; a narrower terminal wraps its lines, where the table would cut names."""


def audit(
    config: Config = None,
    trials: Annotated[
        int | None,
        typer.Option(min=100, help="Releases drawn of each world of a game.", show_default=f"{TRIALS:,}"),
    ] = None,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough", help=f"{NIGHT} times the trials, coarse releases and the settings' budgets, for a night."
        ),
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="How many processes play.", show_default="one a processor")
    ] = None,
    as_json: Json = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there, as JSON.")] = None,
) -> None:
    """Try to tell releases with one installation more from releases without it, better than ρ allows.

    The same games are played on the code with faults planted in it. Exit status 1 if a claim of the shipped code is
    refuted, or if a fault is not found and so the games show nothing.
    """
    chosen = settings.load(config)
    if out is None:
        report = _made(chosen, trials, thorough, jobs)
    else:
        with new_file(out) as part:  # first, for minutes of work would be lost where nothing can be written
            report = _made(chosen, trials, thorough, jobs)
            part.write_bytes(canonical.legible(report.as_json()))
    _show(report, as_json=as_json)
    if not report.passed:
        raise typer.Exit(1)


def _made(chosen: Settings, trials: int | None, thorough: bool, jobs: int | None) -> AuditReport:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("playing", total=None)
        try:
            return audit_this_code(
                trials=trials,
                thorough=thorough,
                budgets=[chosen.nano_rho(purpose) for purpose in PURPOSES],
                jobs=jobs or os.cpu_count() or 1,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except BrokenProcessPool:
            raise AuditEnded(
                "a process of the audit was ended from outside, perhaps for want of memory; nothing was found or "
                "written; --jobs 1 takes the least"
            ) from None


def _show(report: AuditReport, *, as_json: bool) -> None:
    if as_json:
        print(canonical.legible(report.as_json()).decode(), end="")  # noqa: T201  # for another program
        return
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, _ROOM)
    games = [(game.looks_at, game, "pass" if game.passed else "REFUTED") for game in report.games]
    plants = [(plant.name, plant.game, "caught" if plant.caught else "NOT CAUGHT") for plant in report.plants]
    console.print(_table("the attacker looks at", games))
    console.print()
    console.print(_table("planted fault", plants))
    console.print(
        f"\n{'pass' if report.passed else 'FAIL'}: {sum(game.passed for game in report.games)} of {len(games)} "
        f"claims stand, {sum(plant.caught for plant in report.plants)} of {len(plants)} planted faults are caught"
    )
    console.print(
        f"each μ is proven with {report.confidence:.1%} confidence, by {report.trials:,} trials of each world "
        f"({report.plant_trials:,} of planted faults)"
    )


def _table(first: str, rows: list[tuple[str, Game, str]]) -> Table:
    table = Table(first, "scope", "weeks", "ρ", "claimed μ", "proven μ", "seen μ", "verdict", box=None)
    for name, game, verdict in rows:
        figures = (game.claimed_mu, game.bound.mu, game.bound.estimate)
        mus = (f"{mu:.3f}" if mu < float("inf") else "all told" for mu in figures)
        table.add_row(name, game.scope, str(game.weeks), f"{game.nano_rho / 1e9:.4g}", *mus, verdict)
    return table
