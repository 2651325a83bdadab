"""A small world: one place for each target, and so many others there that everybody's cell is published.

Noise does not depend on how many words a vocabulary has. So a target can be attacked in a schema of few words, with
the shipped one's metrics, units, K and shares, and hundreds of targets, each in places of its own, in one release.
Fewer keys make the threshold lower, never higher: what is attacked is published more easily than in earnest.

The attacker knows everything but the target: all other reports, to the unit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from metavox_collector.proof.attacks.parameters import WEEK, Parameters
from metavox_privacy.anonymize import CellKey
from metavox_privacy.budget import Authorization
from metavox_privacy.cells import Cell, fold, squared_count_sensitivity
from metavox_privacy.fields import OTHER, PURPOSES, Choice, Table
from metavox_privacy.mechanism import gaussian
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable, threshold
from metavox_privacy.report import Report, ReportCell
from metavox_privacy.schema import Schema
from metavox_privacy.smoothing import spread

Sums: TypeAlias = Mapping[str, Mapping[CellKey, Cell]]
Publish: TypeAlias = Callable[[Sums, Schema, Authorization], Release]
"""What is attacked: :func:`metavox_privacy.release.make_release`, or the control."""

MODELS = ("one", "another")
"""The two values of the secret attribute."""

SPEEDS = 8
"""How many values the other secret has: the target's speed, a bucket of the metric with the largest share of ρ."""

_SECRET = "model"  # noqa: S105  # a dimension's name
_WELL_ABOVE = 6


class World:
    """A schema of few words, and the reports that its targets could send.

    Attributes:
        parameters: Those of the release, with the small schema.
        places: How many targets there are.
        timed: The metric whose bucket is secret.
    """

    def __init__(self, parameters: Parameters, places: int, *, crowded: bool = True) -> None:
        self._place = {_place(table) for table in parameters.tables}
        self.parameters = replace(parameters, schema=_small(parameters.schema, self._place, places))
        self.places = places
        self.timed = max((p, n) for t in self.parameters.tables for n, p in t.metrics.items())[1]
        self.background: Sums = {table.name: {} for table in self.parameters.tables}
        if crowded:
            everywhere = [self.report(i, m, 0) for i in range(places) for m in range(len(MODELS))]
            self.background = times(self._fold(everywhere), self._crowd() * parameters.weeks)

    def report(self, place: int, model: int, speed: int) -> Report:
        """What the target of a place sends in each of the weeks: one cell, so all its units are in one place."""
        schema = self.parameters.schema
        words = {name: str(place) for name in self._place} | {_SECRET: MODELS[model]}
        key = tuple(words.get(dimension.name, OTHER) for dimension in schema.dimensions)
        histograms = {}
        for metric in schema.metrics:
            bucket = (2 * speed + 1) * metric.buckets // (2 * SPEEDS) if metric.name == self.timed else 0
            histograms[metric.name] = tuple(schema.units * (i == bucket) for i in range(metric.buckets))
        name = hashlib.sha256(f"{place}/{model}/{speed}".encode()).hexdigest()
        return Report(name, WEEK, schema.version, frozenset(PURPOSES), (ReportCell(key, histograms),), True)

    def release(self, reports: Sequence[Report], publish: Publish) -> Release:
        """Release the background and these reports, each of which is sent in every week of the period."""
        mine = times(self._fold(reports), self.parameters.weeks)
        return publish(added(self.background, mine), self.parameters.schema, self.parameters.authorization())

    def _fold(self, reports: Sequence[Report]) -> Sums:
        return fold(reports, self.parameters.schema, self.parameters.tables)

    def _crowd(self) -> int:
        """So many others in a cell that its noisy count is above the threshold but for one case in 10⁹."""
        return max(math.ceil(self._least(table) / self.parameters.weeks) for table in self.parameters.tables)

    def _least(self, table: Table) -> float:
        schema = self.parameters.schema
        scale = gaussian(
            squared_sensitivity=squared_count_sensitivity(schema, self.parameters.weeks),
            nano_rho=self.parameters.nano_rho * table.count_permille // 1000,
        ).scale
        keys = math.prod(len(schema.dimension[name].vocabulary) for name in table.dimensions)
        return threshold(scale, keys, self.parameters.weeks) + _WELL_ABOVE * scale


def exact_release(sums: Sums, schema: Schema, authorization: Authorization) -> Release:
    """The control: the exact sums of every key that somebody reported, without noise and threshold.

    The scales of 1 are what an attacker reckons with, for whom less makes no difference.
    """
    tables = []
    for table in schema.in_scope(authorization.scope):
        cells = [
            ReleasedCell(key, cell.contributors, {n: _spread(cell, n, schema) for n in table.metrics})
            for key, cell in sums[table.name].items()
        ]
        keys = math.prod(len(schema.dimension[name].vocabulary) for name in table.dimensions)
        scales = dict.fromkeys(table.metrics, 1.0)
        tables.append(ReleasedTable(table.name, table.dimensions, keys, 1.0, scales, 1, tuple(cells)))
    a = authorization
    return Release(a.week, a.weeks, a.purpose, a.scope, schema.version, a.nano_rho, tuple(tables))


def times(sums: Sums, factor: int) -> Sums:
    """The sums over so many copies of the same reports."""
    return {
        name: {
            key: Cell(cell.contributors * factor, {n: [u * factor for u in h] for n, h in cell.histograms.items()})
            for key, cell in cells.items()
        }
        for name, cells in sums.items()
    }


def added(one: Sums, other: Sums) -> Sums:
    """The sums over the reports of both."""
    result = {name: dict(cells) for name, cells in one.items()}
    for name, cells in other.items():
        for key, cell in cells.items():
            before = result[name].get(key, Cell())
            total = Cell(before.contributors + cell.contributors, dict(before.histograms))
            for metric, units in cell.histograms.items():
                total.add(metric, units)
            result[name][key] = total
    return result


def _spread(cell: Cell, name: str, schema: Schema) -> tuple[int, ...]:
    metric = schema.metric[name]
    return tuple(spread(cell.histograms.get(name, [0] * metric.buckets), metric))


def _place(table: Table) -> str:
    """The dimension of a table that tells targets apart."""
    return next(name for name in table.dimensions if name != _SECRET)


def _small(schema: Schema, place: set[str], places: int) -> Schema:
    """The same declaration with few words."""
    words = {name: tuple(map(str, range(places))) for name in place} | {_SECRET: MODELS}
    dimensions = tuple(replace(d, kind=Choice(words.get(d.name, ()))) for d in schema.dimensions)
    return replace(schema, dimensions=dimensions)
