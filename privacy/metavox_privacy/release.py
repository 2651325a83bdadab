"""Cells -> Release: noise, then the threshold; what is written here may be published.

For each table the contributor count of *every* key of the public key space gets noise, also of those that
nobody reported, and a key is published when its noisy count passes the threshold. Histograms are then
drawn for the published keys only: the rest of that vector would be thrown away unseen, so leaving it
undrawn changes nothing that is released.

Composition: the counts of each table, and the histograms of each table and metric, are one draw each, with a
share of ρ of its own. All draws see the same reports, so what they cost adds up (Bun and Steinke 2016, lemma 2.3).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

from metavox_privacy.anonymize import CellKey
from metavox_privacy.budget import Account, Authorization
from metavox_privacy.cells import Cell, squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.fields import Metric, Purpose, Scope, Table
from metavox_privacy.mechanism import gaussian
from metavox_privacy.report import Histogram
from metavox_privacy.schema import Schema
from metavox_privacy.smoothing import spread, spread_buckets
from metavox_privacy.week import Week

MINIMUM_CONTRIBUTORS = 20
"""No cell is published that is not, by its noisy count, well above this many installations.

An installation counts once in each week, so of several weeks together it takes so many times as many.
"""

CONFIDENCE = 1.64
"""How many standard deviations of noise above the minimum a count must be (one-sided 95 %)."""

PHANTOMS = 0.05
"""How many keys that nobody reported may pass the threshold in one table of one release, on average."""


@dataclass(frozen=True, slots=True)
class ReleasedCell:
    """One published key. All numbers are noisy and may be negative; they are what they are.

    Attributes:
        key: One word for each of the table's dimensions.
        contributors: Noisy number of installations, each counted in each of the weeks that it reported.
        histograms: Noisy spread units, ``spread_buckets(metric)`` numbers, by metric name.
    """

    key: CellKey
    contributors: int
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class ReleasedTable:
    """A table of a release with the facts a reader needs to judge it.

    Attributes:
        name: The table's name.
        dimensions: What its keys are made of.
        keys: Size of the public key space.
        count_scale: Standard deviation of the noise on contributor counts.
        histogram_scales: Standard deviation of the noise on each number of a histogram, by metric name.
        threshold: The least noisy count that was published.
        cells: The published cells, most contributors first.
    """

    name: str
    dimensions: tuple[str, ...]
    keys: int
    count_scale: float
    histogram_scales: Mapping[str, float]
    threshold: int
    cells: tuple[ReleasedCell, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Everything that is published of one period for one purpose, and what it cost.

    Attributes:
        week: The ISO week, the last one where several are released together.
        weeks: How many these are. The protected unit is one installation in all of them.
        purpose: For whom.
        scope: How finely it is cut.
        schema_version: The declaration it was built from.
        nano_rho: What all draws cost together.
        tables: What was drawn.
    """

    week: Week
    weeks: int
    purpose: Purpose
    scope: Scope
    schema_version: int
    nano_rho: int
    tables: tuple[ReleasedTable, ...]

    @property
    def canonical(self) -> str:
        """Everything that is released as JSON, of which there is one form."""
        return json.dumps({**asdict(self), "week": str(self.week)}, sort_keys=True)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of everything that is released, for the ledger."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def make_release(
    tables: Mapping[str, Mapping[CellKey, Cell]], schema: Schema, authorization: Authorization
) -> Release:
    """Draw the noise of a release that the ledger has authorized.

    Args:
        tables: Sums by table name and key, as :func:`metavox_privacy.cells.fold` makes them, over all weeks of the
            period and in the authorized scope.
        schema: The declaration the reports were built from.
        authorization: The right to draw; settled, it must be stored in the same transaction as the release.

    Raises:
        BudgetExhausted: if the tables' shares add up to more than was authorized; nothing can be published then.
    """
    draws = _Draws(schema, authorization, Account(authorization))
    return Release(
        authorization.week,
        authorization.weeks,
        authorization.purpose,
        authorization.scope,
        schema.version,
        authorization.nano_rho,
        tuple(draws.table(table, tables[table.name]) for table in schema.in_scope(authorization.scope)),
    )


@dataclass(frozen=True, slots=True)
class _Draws:
    """The draws of one release, all of which one account pays for."""

    schema: Schema
    authorization: Authorization
    account: Account

    def table(self, table: Table, cells: Mapping[CellKey, Cell]) -> ReleasedTable:
        vocabularies = [self.schema.dimension[name].vocabulary for name in table.dimensions]
        size = math.prod(map(len, vocabularies))  # in a list the keys would take more memory than their noise
        weeks = self.authorization.weeks
        mechanism = gaussian(
            squared_sensitivity=squared_count_sensitivity(self.schema, weeks),
            nano_rho=self._share(table.count_permille),
        )
        keys = itertools.product(*vocabularies)
        counts = mechanism.draw([cells[key].contributors if key in cells else 0 for key in keys], self.account)
        least = threshold(mechanism.scale, size, weeks)
        noisy = zip(itertools.product(*vocabularies), counts, strict=True)
        passed = sorted(((n, key) for key, n in noisy if n >= least), key=lambda p: (-p[0], p[1]))
        histograms: dict[CellKey, dict[str, Histogram]] = {key: {} for _, key in passed}
        scales: dict[str, float] = {}
        for name, permille in table.metrics.items():
            scales[name] = self._metric(self.schema.metric[name], permille, cells, histograms)
        released = tuple(ReleasedCell(key, n, histograms[key]) for n, key in passed)
        return ReleasedTable(table.name, table.dimensions, size, mechanism.scale, scales, least, released)

    def _metric(
        self,
        metric: Metric,
        permille: int,
        cells: Mapping[CellKey, Cell],
        histograms: dict[CellKey, dict[str, Histogram]],
    ) -> float:
        """Draw a metric's histograms for the published keys; the standard deviation of their noise."""
        mechanism = gaussian(
            squared_sensitivity=squared_histogram_sensitivity(metric, self.schema, self.authorization.weeks),
            nano_rho=self._share(permille),
        )
        flat = [units for key in histograms for units in spread(_units(cells.get(key), metric), metric)]
        noisy = iter(mechanism.draw(flat, self.account))
        for found in histograms.values():
            found[metric.name] = tuple(itertools.islice(noisy, spread_buckets(metric)))
        return mechanism.scale

    def _share(self, permille: int) -> int:
        return self.authorization.nano_rho * permille // 1000


def threshold(scale: float, keys: int, weeks: int) -> int:
    """The least noisy count that is published.

    Args:
        scale: The standard deviation of the noise on each count.
        keys: How many keys there can be.
        weeks: How many weeks are released together.
    """
    least = MINIMUM_CONTRIBUTORS * weeks
    phantom_limit = NormalDist().inv_cdf(1 - PHANTOMS / keys) if keys > 1 else CONFIDENCE
    return math.ceil(max(least + CONFIDENCE * scale, phantom_limit * scale))


def _units(cell: Cell | None, metric: Metric) -> Sequence[int]:
    empty = [0] * metric.buckets
    return cell.histograms.get(metric.name, empty) if cell is not None else empty
