"""The audit: which games are played, how often, and on how many processors."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from metavox_privacy.audit import attack, scene
from metavox_privacy.audit.attack import Stage
from metavox_privacy.audit.bound import lower_bound
from metavox_privacy.audit.planted import FAULTS, Fault, planted
from metavox_privacy.audit.result import AuditReport, Game, Plant
from metavox_privacy.audit.scene import Fold, Scene
from metavox_privacy.fields import Scope
from metavox_privacy.processes import workers
from metavox_privacy.schema import Schema

CONFIDENCE = 0.999
"""A bound is wrong in one audit of a thousand at most."""

TRIALS = 4_000
"""Of each world of a game."""

PLANT_TRIALS = 1_000
"""Of each world of a planted fault's game, at least: the smallest fault is then missed once in 100,000 audits."""

CLAIM = 2 * 10**9
"""The nano-ρ of what a game tests: ρ = μ²/2 at μ = 2, where so many trials prove nine tenths of what is true.

At the shipped budget, μ = 0.17, that takes 300,000. The price of a mechanism is one formula for all budgets, and
the noise of small budgets is the same noise on a larger scale.
"""

WEEKS = (1, 4)
"""The periods that a release can be of."""

_CHUNK = 500

Progress: TypeAlias = Callable[[int, int], None]
"""Told after every chunk: how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Play:
    """A scene that is played: by the shipped code, or with a fault in it.

    Attributes:
        scene: What is played.
        trials: Releases that are drawn of each world.
        fold: How its reports are summed, if not by the specification.
        fault: The name of the fault that is planted, if any.
    """

    scene: Scene
    trials: int
    fold: Fold | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Trials that one process plays one after another."""

    play: Play
    trials: int
    present: bool


@dataclass(slots=True)
class _Scores:
    """What a play's chunks have brought: for each game the scores of either world."""

    games: list[tuple[str, int, float | None]] = field(default_factory=list)
    worlds: dict[bool, list[list[float]]] = field(default_factory=lambda: {False: [], True: []})


def audit(
    schema: Schema,
    *,
    code_sha256: str,
    fold: Fold | None = None,
    trials: int = TRIALS,
    plant_trials: int | None = None,
    scopes: Sequence[Scope] = ("full",),
    budgets: Sequence[int] = (),
    jobs: int = 1,
    progress: Progress | None = None,
) -> AuditReport:
    """Play every game on the shipped code and on every planted fault.

    Args:
        schema: What is audited; games are played on a small schema of its tables, metrics, K and units.
        code_sha256: What is audited, for the report; over all code that sees a report or makes a release.
        fold: How reports are summed, a function that another process can import; by default the specification.
        trials: Releases that are drawn of each world of a game, eight at least.
        plant_trials: The same for planted faults; by default a quarter, and 1,000 at least.
        scopes: Whose tables are released.
        budgets: Further budgets in nano-ρ at which the whole release is played.
        jobs: How many processes play.
        progress: Told how far it is.

    Raises:
        ValueError: if there are too few trials for a bound.
    """
    plant_trials = plant_trials or max(trials // 4, PLANT_TRIALS)
    shipped = [Play(one, trials, fold) for one in _scenes(schema, scopes, budgets)]
    faulty = [Play(fault.scene(schema, scopes[0], CLAIM), plant_trials, fault=fault.name) for fault in FAULTS]
    played = play([*shipped, *faulty], jobs, progress)
    games = [game for found in played[: len(shipped)] for game in found]
    plants = [_plant(*pair) for pair in zip(FAULTS, played[len(shipped) :], strict=True)]
    return AuditReport(
        tuple(games),
        tuple(plants),
        CONFIDENCE,
        trials,
        plant_trials,
        schema.version,
        schema.fingerprint,
        code_sha256,
        _libraries(),
    )


def play(plays: Sequence[Play], jobs: int = 1, progress: Progress | None = None) -> list[list[Game]]:
    """The games of each play, with what their trials prove.

    Raises:
        ValueError: if a play has too few trials for a bound.
    """
    chunks = [chunk for one in plays for chunk in _chunks(one)]
    scores = {id(one): _Scores() for one in plays}
    with _mapper(jobs) as mapped:
        for done, (chunk, (games, trials)) in enumerate(zip(chunks, mapped(_played, chunks), strict=True), 1):
            mine = scores[id(chunk.play)]
            mine.games = games
            mine.worlds[chunk.present] += trials
            if progress is not None:
                progress(done, len(chunks))
    return [_judged(one, scores[id(one)]) for one in plays]


def _scenes(schema: Schema, scopes: Sequence[Scope], budgets: Sequence[int]) -> Iterator[Scene]:
    for scope in scopes:
        for weeks in WEEKS:
            # Tables of shares differ in nothing but their words: one period tells enough of them.
            yield scene.parts(schema, scope, weeks, CLAIM, tables=None if weeks == 1 else 1)
            yield scene.whole(schema, scope, weeks, CLAIM)
            yield scene.counts("published", schema, scope, weeks, CLAIM)
        yield scene.counts("noise", schema, scope, 1, CLAIM)
        yield scene.counts("control", schema, scope, 1, CLAIM)
        yield from (scene.whole(schema, scope, 1, nano_rho) for nano_rho in budgets)


def _chunks(one: Play) -> Iterator[_Chunk]:
    for begin in range(0, one.trials, _CHUNK):
        for present in (False, True):
            yield _Chunk(one, min(_CHUNK, one.trials - begin), present)


def _played(chunk: _Chunk) -> tuple[list[tuple[str, int, float | None]], list[list[float]]]:
    """What the scores are about, and those of each trial."""
    faults: Mapping[str, Fault] = {fault.name: fault for fault in FAULTS}
    with planted(faults.get(chunk.play.fault)):
        stage = attack.stage(chunk.play.scene, chunk.play.fold)
        scores = [stage.trial(present=chunk.present) for _ in range(chunk.trials)]
        return _games(stage), scores


def _games(stage: Stage) -> list[tuple[str, int, float | None]]:
    return list(zip(stage.games, stage.costs, stage.attack_mus(), strict=True))


def _judged(one: Play, scores: _Scores) -> list[Game]:
    absent, present = (zip(*scores.worlds[world], strict=True) for world in (False, True))
    return [
        Game(name, one.scene.scope, one.scene.weeks, cost, expected, lower_bound(without, within, CONFIDENCE))
        for (name, cost, expected), without, within in zip(scores.games, absent, present, strict=True)
    ]


def _plant(fault: Fault, games: Sequence[Game]) -> Plant:
    return Plant(fault.name, fault.says, max(games, key=lambda game: game.bound.mu / game.claimed_mu))


@contextmanager
def _mapper(jobs: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """``map``, in this process or in several new ones, which end with the block."""
    if jobs <= 1:
        yield map
        return
    with workers(jobs) as pool:
        yield pool.map


def _libraries() -> dict[str, str]:
    return {"opendp": importlib.metadata.version("opendp")}
