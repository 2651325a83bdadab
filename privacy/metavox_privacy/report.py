"""Counts -> Report: an installation's week in at most K cells of 256 units each, whoever it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from metavox_privacy.anonymize import CellKey, Record
from metavox_privacy.fields import Purpose
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

Histogram: TypeAlias = tuple[int, ...]
"""Integer units by bucket."""


@dataclass(frozen=True, slots=True)
class CellCounts:
    """What the journal knows of one cell: how many requests, and how many of them in each bucket."""

    requests: int
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the journal knows of one week: counts by cell, nothing of any single request."""

    week: Week
    cells: Mapping[CellKey, CellCounts]


@dataclass(frozen=True, slots=True)
class ReportCell:
    """One cell of a report; every histogram sums to the schema's units."""

    key: CellKey
    histograms: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class Report:
    """What one installation sends for one week.

    Attributes:
        report_id: Hex SHA-256 of a random token that stays on the user's machine.
        week: The week that is reported.
        schema_version: The declaration it was built from.
        purposes: What the person agreed to.
        cells: At most K, the most used first.
        synthetic: Whether it was made by the simulator.
    """

    report_id: str
    week: Week
    schema_version: int
    purposes: frozenset[Purpose]
    cells: tuple[ReportCell, ...]
    synthetic: bool = field(default=False)


def count(records: Sequence[Record], week: Week, schema: Schema) -> Counts:
    """Add up the records of one week."""
    requests: dict[CellKey, int] = {}
    sums: dict[CellKey, dict[str, list[int]]] = {}
    for record in records:
        if record.week != week:
            continue
        requests[record.cell] = requests.get(record.cell, 0) + 1
        histograms = sums.setdefault(record.cell, {})
        for name, bucket in record.buckets.items():
            histograms.setdefault(name, [0] * schema.metric[name].buckets)[bucket] += 1
    cells = {
        cell: CellCounts(requests[cell], {name: tuple(values) for name, values in histograms.items()})
        for cell, histograms in sums.items()
    }
    return Counts(week, cells)


def report_id_of(token: bytes) -> str:
    """The public name of a report, from the secret token that can delete it."""
    return hashlib.sha256(token).hexdigest()


def make_report(
    counts: Counts, schema: Schema, *, token: bytes, purposes: frozenset[Purpose], synthetic: bool = False
) -> Report | None:
    """Keep the K most used cells and normalise each histogram; None when there is nothing to report.

    Ties go to the alphabetically first cell, so the same counts always give the same bytes.
    """
    if not counts.cells or not purposes:
        return None
    most_used = sorted(counts.cells, key=lambda key: (-counts.cells[key].requests, key))
    cells = tuple(_cell(key, counts.cells[key], schema) for key in most_used[: schema.cells_per_report])
    return Report(report_id_of(token), counts.week, schema.version, purposes, cells, synthetic)


def _cell(key: CellKey, counts: CellCounts, schema: Schema) -> ReportCell:
    return ReportCell(
        key,
        {
            metric.name: apportion(counts.histograms[metric.name], schema.units)
            for metric in schema.metrics
            if any(counts.histograms.get(metric.name, ()))
        },
    )


def apportion(counts: Sequence[int], units: int) -> Histogram:
    """Divide ``units`` in proportion to ``counts`` by largest remainder; integers that sum to ``units``.

    Raises:
        ValueError: if the counts sum to zero.
    """
    total = sum(counts)
    if total <= 0:
        raise ValueError("nothing to apportion")
    shares = [divmod(value * units, total) for value in counts]
    result = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(counts)), key=lambda i: (-shares[i][1], i))
    for index in by_remainder[: units - sum(result)]:
        result[index] += 1
    return tuple(result)
