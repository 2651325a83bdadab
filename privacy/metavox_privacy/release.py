"""Cells -> Release: noise, then the threshold; what is written here may be published.

For each table the contributor count of *every* key of the public key space gets noise, also of those that
nobody reported, and a key is published when its noisy count passes the threshold. Histograms are then
drawn for the published keys only: the rest of that vector would be thrown away unseen, so leaving it
undrawn changes nothing that is released.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist

from metavox_privacy.anonymize import CellKey
from metavox_privacy.budget import Account, Authorization
from metavox_privacy.cells import Cell, squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.fields import Purpose, Table
from metavox_privacy.mechanism import gaussian
from metavox_privacy.report import Histogram
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

MINIMUM_CONTRIBUTORS = 20
"""No cell is published that is not, by its noisy count, well above this many installations."""

CONFIDENCE = 1.64
"""How many standard deviations of noise above the minimum a count must be (one-sided 95 %)."""

PHANTOMS = 0.05
"""How many keys that nobody reported may pass the threshold in one table of one release, on average."""


@dataclass(frozen=True, slots=True)
class ReleasedCell:
    """One published key. All numbers are noisy and may be negative; they are what they are.

    Attributes:
        key: One word for each of the table's dimensions.
        contributors: Noisy number of installations.
        histograms: Noisy units by bucket, by metric name.
    """

    key: CellKey
    contributors: int
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class ReleasedTable:
    """A table of a release with the facts a reader needs to judge it.

    Attributes:
        name: The table's name.
        keys: Size of the public key space.
        count_scale: Standard deviation of the noise on contributor counts.
        histogram_scale: Standard deviation of the noise on each bucket; 0 for a table of shares.
        threshold: The least noisy count that was published.
        cells: The published cells, most contributors first.
    """

    name: str
    keys: int
    count_scale: float
    histogram_scale: float
    threshold: int
    cells: tuple[ReleasedCell, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Everything that is published of one week for one purpose, and what it cost."""

    week: Week
    purpose: Purpose
    schema_version: int
    nano_rho: int
    tables: tuple[ReleasedTable, ...]

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of everything that is released, for the ledger."""
        text = json.dumps({**asdict(self), "week": str(self.week)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def make_release(
    tables: Mapping[str, Mapping[CellKey, Cell]], schema: Schema, authorization: Authorization
) -> Release:
    """Draw the noise of a release that the ledger has authorized.

    Args:
        tables: Sums by table name and key, as :func:`metavox_privacy.cells.fold` makes them.
        schema: The declaration the reports were built from.
        authorization: The right to draw; settled, it must be stored in the same transaction as the release.

    Raises:
        BudgetExhausted: if the tables' shares add up to more than was authorized; nothing can be published then.
    """
    account = Account(authorization)
    released = tuple(_table(table, tables[table.name], schema, authorization, account) for table in schema.tables)
    return Release(authorization.week, authorization.purpose, schema.version, authorization.nano_rho, released)


def _table(
    table: Table, cells: Mapping[CellKey, Cell], schema: Schema, authorization: Authorization, account: Account
) -> ReleasedTable:
    vocabularies = [schema.dimension[name].vocabulary for name in table.dimensions]
    size = math.prod(map(len, vocabularies))  # in a list the keys would take more memory than their noise
    mechanism = gaussian(
        squared_sensitivity=squared_count_sensitivity(schema),
        nano_rho=authorization.nano_rho * table.count_permille // 1000,
    )
    keys = itertools.product(*vocabularies)
    counts = mechanism.draw([cells[key].contributors if key in cells else 0 for key in keys], account)
    least = threshold(mechanism.scale, size)
    noisy = zip(itertools.product(*vocabularies), counts, strict=True)
    passed = sorted(((n, key) for key, n in noisy if n >= least), key=lambda p: (-p[0], p[1]))
    histograms, scale = _histograms(table, [key for _, key in passed], cells, schema, authorization, account)
    released = tuple(ReleasedCell(key, n, histograms.get(key, {})) for n, key in passed)
    return ReleasedTable(table.name, size, mechanism.scale, scale, least, released)


def threshold(scale: float, keys: int) -> int:
    """The least noisy count that is published, for noise of a standard deviation over so many keys."""
    phantom_limit = NormalDist().inv_cdf(1 - PHANTOMS / keys) if keys > 1 else CONFIDENCE
    return math.ceil(max(MINIMUM_CONTRIBUTORS + CONFIDENCE * scale, phantom_limit * scale))


def _histograms(
    table: Table,
    keys: list[CellKey],
    cells: Mapping[CellKey, Cell],
    schema: Schema,
    authorization: Authorization,
    account: Account,
) -> tuple[dict[CellKey, dict[str, Histogram]], float]:
    if not table.metrics:
        return {}, 0.0
    mechanism = gaussian(
        squared_sensitivity=squared_histogram_sensitivity(table, schema),
        nano_rho=authorization.nano_rho * table.histogram_permille // 1000,
    )
    slots = [(key, schema.metric[name]) for key in keys for name in table.metrics]
    flat = [units for key, metric in slots for units in _units(cells.get(key), metric.name, metric.buckets)]
    noisy = iter(mechanism.draw(flat, account))
    result: dict[CellKey, dict[str, Histogram]] = {}
    for key, metric in slots:
        result.setdefault(key, {})[metric.name] = tuple(itertools.islice(noisy, metric.buckets))
    return result, mechanism.scale


def _units(cell: Cell | None, metric: str, buckets: int) -> list[int]:
    return cell.histograms.get(metric, [0] * buckets) if cell is not None else [0] * buckets
