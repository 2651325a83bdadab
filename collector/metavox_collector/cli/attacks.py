"""``metavox-collector attacks``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metavox_collector import settings
from metavox_collector.cli.options import Config, Json
from metavox_collector.operate.files import new_file
from metavox_collector.proof import canonical
from metavox_collector.proof.attacks import THOROUGH, AttackReport, Effort, Gate, Parameters, attack
from metavox_privacy.schema import SCHEMA

_HEAD = ("verdict", "criterion", "attack", "success", "at least", "allowed", "on exact sums")
_WIDTHS = (11, 20, 27, 11, 11, 11, 13)


class ForPurpose(str, Enum):
    """For whom a release is made."""

    publish = "publish"
    improve = "improve"


class InScope(str, Enum):
    """How finely a release is cut."""

    full = "full"
    coarse = "coarse"


def attacks(
    config: Config = None,
    purpose: Annotated[ForPurpose, typer.Option(help="Whose budget the releases have.")] = ForPurpose.publish,
    scope: Annotated[InScope, typer.Option(help="How finely the releases are cut.")] = InScope.full,
    thorough: Annotated[bool, typer.Option("--thorough", help="Ten times the trials, for a night.")] = False,
    as_json: Json = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there, as JSON.")] = None,
) -> None:
    """Attack releases of simulated fleets as somebody would who wants to know one installation's part in them.

    Budget and weeks are those of the settings. Exit status 1 if an attack succeeds more often than ρ allows, or
    fails even against exact sums and so shows nothing.
    """
    chosen = settings.load(config)
    parameters = Parameters(
        SCHEMA, chosen.nano_rho(purpose.value), purpose.value, scope.value, chosen.cadence_weeks
    )
    effort = THOROUGH if thorough else Effort()
    if out is None:
        report = attack(parameters, effort)
    else:
        with new_file(out) as part:  # first, for minutes of work would be lost where nothing can be written
            report = attack(parameters, effort)
            part.write_bytes(canonical.legible(report.as_json()))
    _show(report, as_json=as_json)
    if not report.passed:
        raise typer.Exit(1)


def _show(report: AttackReport, *, as_json: bool) -> None:
    if as_json:
        print(canonical.legible(report.as_json()).decode(), end="")  # noqa: T201  # for another program
        return
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for row in (_HEAD, *map(_row, report.gates)):
        console.print("".join(f"{word:{width}}" for word, width in zip(row, _WIDTHS, strict=True)).rstrip())
    facts = report.parameters
    verdict = "every claim stands" if report.passed else "NOT every claim stands"
    console.print(
        f"\n{verdict}: ρ = {facts['nano_rho'] / 1e9:g}, μ = {facts['mu']:.3f}, scope {facts['scope']}, "
        f"{facts['weeks']} week(s), {report.seconds:.0f} s"
    )


def _row(gate: Gate) -> tuple[str, ...]:
    verdict = "pass" if gate.passed else "TOOTHLESS" if gate.toothless else "FAIL"
    numbers = (f"{number:.2g}" for number in (gate.release.value, gate.release.low, gate.release.limit))
    control = f"{gate.control.value:.2g}" if gate.control else "-"
    return verdict, gate.criterion, gate.name, *numbers, control
