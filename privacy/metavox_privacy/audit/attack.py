"""Releases -> scores: the attacker knows all reports but the target's, and what the target's would be.

Between two Gaussians of the same noise the best test is the likelihood ratio's, which is linear: each number is
weighed by how far the target moves it, over the variance of its noise. Nothing about the noise has to be guessed,
for a release states it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from metavox_privacy import budget, cells, release
from metavox_privacy.anonymize import CellKey
from metavox_privacy.audit import scene as scenes
from metavox_privacy.audit.scene import Attack, Fold, Scene, Tables
from metavox_privacy.budget import AlreadyReleased, LedgerEntry
from metavox_privacy.cells import Cell
from metavox_privacy.release import Release, ReleasedTable
from metavox_privacy.report import Report
from metavox_privacy.smoothing import spread

_FAR = 8
"""How many standard deviations of noise the crowd is above the threshold: its cells are always published."""

_ANY_HASH = "0" * 64
"""What the ledger says was released. It refuses a week by its name, and a hash takes a fifth of a trial's time."""

_TRIES = 2
"""How often the attacker has the same week closed."""


_TOLD: Mapping[Attack, str] = {
    "whole": "the whole release",
    "published": "which cells are published",
    "noise": "one release beside another of known reports",
    "control": "some cells beside others of known reports",
}


class Part(NamedTuple):
    """The contributors of a table, or a metric of it."""

    table: str
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """How the target moves the numbers of one key of a part, from what they are without it."""

    before: Sequence[int]
    by: Sequence[int]

    def score(self, numbers: Sequence[int], variance: float) -> float:
        """The logarithm of the likelihood ratio, but for a constant."""
        return sum(b * (n - a) for a, b, n in zip(self.before, self.by, numbers, strict=True) if b) / variance


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene with its worlds summed and the attack prepared.

    Attributes:
        scene: What is played.
        facts: A release of it, of which only what it states of its noise is used.
        absent: The sums without the target.
        present: The sums with it.
        moves: What the target does to each part, by key.
    """

    scene: Scene
    facts: Release
    absent: Tables
    present: Tables
    moves: Mapping[Part, Mapping[CellKey, Move]]

    @property
    def games(self) -> list[str]:
        """What each score of a trial is about."""
        names = [part.metric or "contributors" for part in self.moves]
        parts = [f"{part.table}: {name}" for part, name in zip(self.moves, names, strict=True)]
        return parts if self.scene.attack == "parts" else [_TOLD[self.scene.attack]]

    @property
    def costs(self) -> list[int]:
        """What each game's part of the release costs by the schema, in nano-ρ."""
        if self.scene.attack == "whole":
            return [self.scene.nano_rho]
        tables = {table.name: table for table in self.scene.tables}
        shares = [
            tables[part.table].metrics[part.metric] if part.metric else tables[part.table].count_permille
            for part in self.moves
        ]
        return [self.scene.nano_rho * share // 1000 for share in shares]

    def attack_mus(self) -> list[float | None]:
        """What each game would come to if noise were what the release states; None where no formula says it."""
        squares = _squares(self.facts, self.moves)
        if self.scene.attack == "parts":
            return [math.sqrt(square) for square in squares]
        return [math.sqrt(sum(squares)) if self.scene.attack == "whole" else None]

    def trial(self, *, present: bool) -> list[float]:
        """Close the week anew in one of the worlds, and score what is published; one score a game."""
        releases = closed(self.scene, self.present if present else self.absent)
        attack = self.scene.attack
        if attack == "published":
            return [float(sum(key in self._aimed for made in releases for key in _published(made)))]
        scores = [self._score(made) for made in releases]
        if attack == "control":
            scores = [[one[0] - self._control(made)] for one, made in zip(scores, releases, strict=True)]
        if attack == "noise":  # what noise was, the attacker reads off a release whose reports are known
            known = self._score(closed(self.scene, self.absent)[0])
            scores = [[score - other for score, other in zip(one, known, strict=True)] for one in scores]
        added = [sum(column) for column in zip(*scores, strict=True)]
        return [sum(added)] if attack == "whole" else added

    def _control(self, made: Release) -> float:
        """The score that noise alone gives, if the target's cells have the noise of those it is not in."""
        table, moves = made.tables[0], self.moves[Part(made.tables[0].name)]
        known = self.absent[table.name]
        noise = [cell.contributors - known[cell.key].contributors for cell in table.cells if cell.key not in moves]
        return sum(sum(move.by) for move in moves.values()) * fmean(noise) / table.count_scale**2

    @property
    def _aimed(self) -> frozenset[CellKey]:
        return frozenset(itertools.chain.from_iterable(self.moves.values()))

    def _score(self, made: Release) -> list[float]:
        tables = {table.name: table for table in made.tables}
        return [_score(tables[part.table], part, moves) for part, moves in self.moves.items()]


def closed(scene: Scene, tables: Tables) -> list[Release]:
    """The releases of the same sums that can be had: the ledger is asked again until it refuses."""
    history: list[LedgerEntry] = []
    releases: list[Release] = []
    for _ in range(_TRIES):
        try:
            authorization = budget.authorize(
                history,
                week=scenes.WEEK,
                weeks=scene.weeks,
                purpose="publish",
                scope=scene.scope,
                schema_version=scene.schema.version,
                nano_rho=scene.nano_rho,
                yearly_cap=_TRIES * scene.nano_rho,  # the cap is not what has to refuse it
                sandbox=True,
            )
        except AlreadyReleased:
            break
        releases.append(release.make_release(tables, scene.schema, authorization))
        history.append(authorization.settle(_ANY_HASH))
    return releases


def stage(scene: Scene, fold: Fold | None = None) -> Stage:
    """Find the worst target, put a crowd into its cells and sum both worlds.

    Args:
        scene: What is to be played.
        fold: How reports are summed; by default :func:`metavox_privacy.cells.fold`.
    """

    def summed(reports: Sequence[Report]) -> Tables:
        # Looked up when it is called, for a fault may be planted there.
        return (fold or cells.fold)(reports, scene.schema, scene.tables)

    facts = closed(scene, {table.name: {} for table in scene.tables})[0]
    numbers = range(1, len(scene.words) + 1)
    candidates = [scenes.target(scene, number, last) for number in numbers for last in (False, True)]
    target = max(candidates, key=lambda reports: _visibility(scene, facts, summed(reports)))
    aimed = {key for found in summed(target).values() for key in found}
    keys = aimed if scene.attack != "control" else {(word,) for word in scene.words}
    crowd = scenes.crowd(scene, keys, _crowd_size(scene, facts))
    absent, present = summed(crowd), summed([*crowd, *target])
    return Stage(scene, facts, absent, present, _moves(scene, absent, present))


def _visibility(scene: Scene, facts: Release, target: Tables) -> float:
    """What the attacker can expect of a target: μ squared, over all parts."""
    empty: Tables = {table.name: {} for table in scene.tables}
    return sum(_squares(facts, _moves(scene, empty, target)))


def _squares(facts: Release, moves: Mapping[Part, Mapping[CellKey, Move]]) -> list[float]:
    """Each part's μ squared: how far it is moved, over the standard deviation of its noise."""
    tables = {table.name: table for table in facts.tables}
    return [
        sum(step**2 for move in by_key.values() for step in move.by) / _variance(tables[part.table], part)
        for part, by_key in moves.items()
    ]


def _crowd_size(scene: Scene, facts: Release) -> int:
    if scene.attack == "published":  # one week fewer than it takes, so that the target's being there decides
        return facts.tables[0].threshold - scene.weeks
    return max(table.threshold + round(_FAR * table.count_scale) for table in facts.tables)


def _moves(scene: Scene, absent: Tables, present: Tables) -> dict[Part, dict[CellKey, Move]]:
    found: dict[Part, dict[CellKey, Move]] = {}
    for table in scene.tables:
        for part in (Part(table.name), *(Part(table.name, name) for name in table.metrics)):
            moves = {
                key: _move(_numbers(scene, part, absent[table.name].get(key)), _numbers(scene, part, cell))
                for key, cell in present[table.name].items()
            }
            found[part] = {key: move for key, move in moves.items() if any(move.by)}
    return found


def _move(before: Sequence[int], after: Sequence[int]) -> Move:
    return Move(before, [b - a for a, b in zip(before, after, strict=True)])


def _numbers(scene: Scene, part: Part, cell: Cell | None) -> Sequence[int]:
    """What noise is added to."""
    if not part.metric:
        return [cell.contributors if cell is not None else 0]
    metric = scene.schema.metric[part.metric]
    units = cell.histograms.get(part.metric) if cell is not None else None
    return spread(units or [0] * metric.buckets, metric)


def _published(made: Release) -> Iterable[CellKey]:
    return (cell.key for table in made.tables for cell in table.cells)


def _variance(table: ReleasedTable, part: Part) -> float:
    return (table.histogram_scales[part.metric] if part.metric else table.count_scale) ** 2


def _score(table: ReleasedTable, part: Part, moves: Mapping[CellKey, Move]) -> float:
    """A cell that is not published has no histogram to score, and a count below the threshold."""
    variance = _variance(table, part)
    published = {cell.key: cell for cell in table.cells}
    total = 0.0
    for key, move in moves.items():
        cell = published.get(key)
        if not part.metric:
            total += move.score([cell.contributors if cell is not None else table.threshold - 1], variance)
        elif cell is not None:
            total += move.score(cell.histograms[part.metric], variance)
    return total
