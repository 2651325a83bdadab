"""Singling out: a predicate, written from the release alone, that is true of exactly one installation of the fleet.

After Cohen and Nissim 2020 (arXiv:1904.06009). A predicate that is rarely true of anybody isolates somebody by
chance, too. By differential privacy the same predicate comes out about as likely without the one whom it isolates.
So the chance that it isolates is at most ``e^ε`` times how many of another fleet it would isolate, were they added
one at a time: those that it is true of where it is true of nobody in the first; and δ for each installation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from metavox_collector.estimate import estimate
from metavox_collector.proof.attacks.bounds import ALPHA, Proportion, mean_high
from metavox_collector.proof.attacks.fleet import Fleet
from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.verdicts import Measured
from metavox_privacy.anonymize import CellKey
from metavox_privacy.budget import epsilon
from metavox_privacy.fields import Table
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.schema import Schema

DELTA = 1e-8
"""The δ at which ε is stated."""

EXPECTED = 0.1
"""The attacker takes predicates that he expects to be true of at most so many installations."""

MOST = 2_000
"""How many predicates an attacker writes at most, the likeliest to isolate first."""

Buckets: TypeAlias = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Predicate:
    """Is in this cell, with most of its units of these metrics in these buckets; None where any bucket will do."""

    key: CellKey
    buckets: Buckets
    expected: float


def singled_out(release: Release, fleet: Fleet, other: Fleet) -> Measured:
    """How often a predicate isolates, out of all that the attacker writes.

    Args:
        release: The fleet's.
        fleet: Whom it was made of.
        other: As many others of the same kind.
    """
    parameters = fleet.parameters
    table = next(table for table in parameters.tables if table.metrics)
    metrics = _pair_of_metrics(table, parameters.schema)
    released = next(found for found in release.tables if found.name == table.name)
    predicates = _certain(released, metrics, parameters) or _likely(released, metrics, parameters)
    mine, others = (_people(one, table, metrics) for one in (fleet, other))
    isolated = Proportion(sum(_true_of(p, mine) == 1 for p in predicates), len(predicates))
    elsewhere = sum(_true_of(p, others) for p in predicates if not _true_of(p, mine))
    growth = len(fleet.reports) / len(other.reports)
    limit = math.exp(epsilon(parameters.nano_rho, DELTA)) * growth * _mean(elsewhere, len(predicates))
    limit = min(limit + DELTA * len(fleet.reports), 1.0)
    low, high = isolated.low(ALPHA / 2), isolated.high(ALPHA / 2)
    return Measured(isolated.rate, low, high, limit, len(predicates))


def _mean(elsewhere: int, predicates: int) -> float:
    return mean_high(elsewhere, predicates, ALPHA / 2) if predicates else 1.0


def _pair_of_metrics(table: Table, schema: Schema) -> tuple[str, ...]:
    """The two quantities with most of ρ, which are released most exactly."""
    quantities = [name for name in table.metrics if not schema.metric[name].is_rate]
    return tuple(sorted(quantities, key=lambda name: -table.metrics[name])[:2])


def _certain(table: ReleasedTable, metrics: tuple[str, ...], parameters: Parameters) -> list[Predicate]:
    """The cells that by the release one alone is in."""
    alone = [cell.key for cell in table.cells if cell.contributors / parameters.weeks < 2]
    return [Predicate(key, (None,) * len(metrics), 1.0) for key in alone][:MOST]


def _likely(table: ReleasedTable, metrics: tuple[str, ...], parameters: Parameters) -> list[Predicate]:
    """The likeliest to isolate of those that hardly anybody is expected in."""
    found: list[Predicate] = []
    for cell in table.cells:
        people = cell.contributors / parameters.weeks
        found += _conjunctions(cell, people, table, metrics, parameters.schema)
    return sorted(found, key=lambda p: -p.expected)[:MOST]


def _conjunctions(
    cell: ReleasedCell, people: float, table: ReleasedTable, metrics: tuple[str, ...], schema: Schema
) -> Iterator[Predicate]:
    """The corners of a cell where by the estimate hardly anybody is."""
    shares = [
        estimate(schema.metric[name], cell.histograms[name], table.histogram_scales[name]).shares
        for name in metrics
    ]
    if len(shares) < 2:
        return
    for first, one in enumerate(shares[0]):
        for second, other in enumerate(shares[1]):
            expected = people * one * other
            if EXPECTED / 10 <= expected <= EXPECTED:
                yield Predicate(cell.key, (first, second), expected)


def _people(fleet: Fleet, table: Table, metrics: tuple[str, ...]) -> Counter[tuple[CellKey, Buckets]]:
    """How many installations are in each cell and corner of it."""
    found: Counter[tuple[CellKey, Buckets]] = Counter()
    for cells in fleet.contributions(table):
        for key, cell in cells.items():
            found[key, (None,) * len(metrics)] += 1
            found[key, _corner(cell.histograms, metrics)] += 1
    return found


def _corner(histograms: Mapping[str, list[int]], metrics: tuple[str, ...]) -> Buckets:
    """The bucket of each metric that holds most."""
    return tuple(max(range(len(h)), key=h.__getitem__) for h in (histograms[name] for name in metrics))


def _true_of(predicate: Predicate, people: Counter[tuple[CellKey, Buckets]]) -> int:
    return people[predicate.key, predicate.buckets]


def suppressed(release: Release, fleet: Fleet) -> dict[str, float]:
    """By table, the part of the fleet's contributions whose cell is not published."""
    shares = {}
    for table, released in zip(fleet.parameters.tables, release.tables, strict=True):
        published = {cell.key for cell in released.cells}
        people = fleet.installations(table)
        shares[table.name] = sum(n for key, n in people.items() if key not in published) / people.total()
    return shares


def fewest(release: Release, fleet: Fleet) -> int | None:
    """The least true number of installations in a published cell, of any table; None when none is published."""
    counts = [
        fleet.installations(table)[cell.key]
        for table, released in zip(fleet.parameters.tables, release.tables, strict=True)
        for cell in released.cells
    ]
    return min(counts, default=None)
