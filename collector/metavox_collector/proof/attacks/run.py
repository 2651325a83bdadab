"""Everything together, in processes of its own: fleet -> sums -> release -> attackers -> gates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from metavox_collector.dataset.code import this_code
from metavox_collector.proof.attacks import games
from metavox_collector.proof.attacks.checks import checked, shown
from metavox_collector.proof.attacks.fleet import simulated
from metavox_collector.proof.attacks.parameters import Effort, Parameters
from metavox_collector.proof.attacks.rare import lone_in_fleet, lone_in_world
from metavox_collector.proof.attacks.singling import DELTA, fewest, singled_out, suppressed
from metavox_collector.proof.attacks.ties import tables_linked
from metavox_collector.proof.attacks.trials import Trials, joined, trials
from metavox_collector.proof.attacks.verdicts import AttackReport, Criterion, Gate, Measured
from metavox_collector.proof.attacks.world import SPEEDS, Publish, exact_release
from metavox_privacy.budget import epsilon
from metavox_privacy.processes import workers
from metavox_privacy.release import Release, make_release

CONTROL_PAIRS = 400
"""Enough to see an attack succeed that nothing hinders."""

_PORTION = 250


@dataclass(frozen=True, slots=True)
class _Game:
    """An attack on pairs of releases."""

    name: str
    criterion: Criterion
    question: str
    limit_from: str
    play: Callable[[Trials, float], Measured]


_ISOLATING, _TABLES = "isolating predicates", "linking two tables"
_ALONE, _SPEED_ALONE, _ALONE_IN_FLEET = "alone with rare hardware", "speed of rare hardware", "alone in a fleet"

_TOTAL_VARIATION = "2 Φ(μ/2) - 1, the most that true positives can exceed false ones"

GAMES = (
    _Game(
        "linking two releases",
        "linkability",
        "Is the installation in one week's release the one in the next week's, or another?",
        "(2 Φ(μ) - 1)², a parity of two weeks",
        games.linked,
    ),
    _Game(
        "linking to a known report",
        "linkability",
        "Is the installation whose report of one week is known the one in the next week's release, or another?",
        "2 Φ(μ) - 1, the claim for a group of two",
        games.linked_to_known,
    ),
    _Game(
        "inferring the model",
        "inference",
        "Which of two models has an installation of known hardware and speed, against a guess without it?",
        _TOTAL_VARIATION,
        games.inferred_model,
    ),
    _Game(
        "inferring the speed",
        "inference",
        f"Which of {SPEEDS} speeds has an installation of known hardware and model, against a guess without it?",
        _TOTAL_VARIATION,
        games.inferred_speed,
    ),
    _Game(
        "membership",
        "membership",
        "Is an installation in the release whose whole report is known, and everybody else's?",
        _TOTAL_VARIATION,
        games.membership,
    ),
    _Game(
        "membership, surely",
        "membership",
        "How many are found by an attacker who is wrong of one in a hundred?",
        "Φ(Φ⁻¹(x) + μ) for x wrong, the trade-off that μ allows",
        games.membership_at_one_percent,
    ),
    _Game(
        "differencing two weeks",
        "membership",
        "Did an installation leave between two releases of an otherwise unchanged fleet, or was it never there?",
        _TOTAL_VARIATION,
        games.differencing,
    ),
)

NAMES = (_ISOLATING, _TABLES, *(game.name for game in GAMES), _ALONE, _SPEED_ALONE, _ALONE_IN_FLEET)
"""The gates of every report, beside those of :mod:`metavox_collector.proof.attacks.checks`."""


def attack(
    parameters: Parameters,
    effort: Effort | None = None,
    *,
    release: Release | None = None,
    before: Release | None = None,
    publish: Publish = make_release,
) -> AttackReport:
    """Attack simulated fleets that are released with these parameters, and check a release itself.

    No real report is attacked: when a release is made they are destroyed.

    Args:
        parameters: What the privacy of the release depends on.
        effort: How many trials.
        release: The release that is to be checked beside, from what is published of it.
        before: The release before that one.
        publish: What is attacked. Another one than the shipped has to be importable by its name.

    Raises:
        ValueError: if the release was made with other parameters.
    """
    effort = effort or Effort()
    if release is not None and Parameters.of(release, parameters.schema) != parameters:
        raise ValueError("the release was made with other parameters than those that are to be attacked")
    start = time.monotonic()
    with workers(effort.processes) as pool:
        gates, figures = _simulated(parameters, effort, publish, pool)
    if release is not None:
        gates += checked(release, before, parameters.schema)
        figures["release"] = {"sha256": release.sha256, "tables": shown(release)}
    return AttackReport(_identified(parameters, effort), tuple(gates), figures, time.monotonic() - start)


def _simulated(
    parameters: Parameters, effort: Effort, publish: Publish, pool: Executor
) -> tuple[list[Gate], dict[str, Any]]:
    fleets = pool.submit(in_fleet, parameters, effort.fleet, publish)
    portions = [pool.submit(trials, parameters, n, publish) for n in _portions(effort.pairs)]
    rare = pool.submit(lone_in_world, parameters, effort.lone, publish)
    control = trials(parameters, CONTROL_PAIRS, exact_release)
    alone = lone_in_world(parameters, CONTROL_PAIRS, exact_release)
    pairs = joined(map(Future.result, portions))
    found, lone = fleets.result(), rare.result()
    gates = [
        Gate(
            _ISOLATING,
            "singling out",
            "How many predicates, written from the release to be true of hardly anybody, isolate one installation?",
            "e^ε times how many of another fleet they would isolate in this one, and δ for each installation",
            found.singled_out,
            found.singled_out_control,
        ),
        Gate(
            _TABLES,
            "linkability",
            "In how many pairs of tables does the release depend on who is the same in both?",
            "none: sums by table are the same whoever it is",
            *tables_linked(parameters),
        ),
        *(
            Gate(
                g.name,
                g.criterion,
                g.question,
                g.limit_from,
                g.play(pairs, parameters.mu),
                g.play(control, parameters.mu),
            )
            for g in GAMES
        ),
        Gate(
            _ALONE,
            "singling out",
            "How often is a cell published that one installation alone is in?",
            "the rate of phantoms in a table of few keys, raised by what one installation may change",
            lone[0],
            alone[0],
        ),
        Gate(
            _SPEED_ALONE,
            "inference",
            f"Which of {SPEEDS} speeds has an installation that is alone with its hardware, against a blind guess?",
            "the same: nothing is said of a cell that is not published",
            lone[1],
            alone[1],
        ),
        Gate(
            _ALONE_IN_FLEET,
            "singling out",
            "The same in a whole fleet, under all words of the schema.",
            "the rate of phantoms in the schema's table, raised by what one installation may change",
            found.lone,
            found.lone_control,
        ),
    ]
    return gates, {"fleet": found.figures}


@dataclass(frozen=True, slots=True)
class InFleet:
    """What attackers on one fleet's release found."""

    singled_out: Measured
    singled_out_control: Measured
    lone: Measured
    lone_control: Measured
    figures: dict[str, Any]


def in_fleet(parameters: Parameters, installations: int, publish: Publish) -> InFleet:
    """Release one fleet, and attack it with another one beside."""
    fleet, other = (simulated(parameters, installations) for _ in range(2))
    release, exact = (
        one(fleet.sums, parameters.schema, parameters.authorization()) for one in (publish, exact_release)
    )
    return InFleet(
        singled_out(release, fleet, other),
        singled_out(exact, fleet, other),
        lone_in_fleet(release, fleet),
        lone_in_fleet(exact, fleet),
        {
            "installations": len(fleet.reports),
            "suppressed": {name: round(share, 4) for name, share in suppressed(release, fleet).items()},
            "fewest_in_a_published_cell": fewest(release, fleet),
            "published_cells": {table.name: len(table.cells) for table in release.tables},
        },
    )


def _portions(pairs: int) -> Iterator[int]:
    for start in range(0, pairs, _PORTION):
        yield min(_PORTION, pairs - start)


def _identified(parameters: Parameters, effort: Effort) -> dict[str, Any]:
    schema = parameters.schema
    code = this_code()
    return {
        "code_version": code.version,
        "code_sha256": code.sha256,
        "schema_version": schema.version,
        "schema_fingerprint": schema.fingerprint,
        "purpose": parameters.purpose,
        "scope": parameters.scope,
        "weeks": parameters.weeks,
        "nano_rho": parameters.nano_rho,
        "mu": round(parameters.mu, 6),
        "epsilon": round(epsilon(parameters.nano_rho, DELTA), 4),
        "delta": DELTA,
        "pairs": effort.pairs,
        "lone": effort.lone,
        "fleet": effort.fleet,
    }
