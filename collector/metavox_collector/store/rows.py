"""Reports <-> the rows that are staged of them: one for each cell, all numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metavox_collector.packing import Packing
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.report import Report
from metavox_privacy.week import Week

FLAG: dict[Purpose, int] = {"improve": 1, "publish": 2}
"""The bit of ``flags`` that says that a person agreed to a purpose."""

SYNTHETIC = 4
"""The bit of ``flags`` that says that a report was simulated."""


class StagedRow(NamedTuple):
    """One cell of one staged report, as SQL holds it beside its week.

    Attributes:
        report_id: 32 bytes.
        position: The cell's place in its report, from 0.
        flags: What :data:`FLAG` and :data:`SYNTHETIC` say; the same in all rows of a report.
        cell: The cell's key, packed.
        histograms: Its histograms, packed.
    """

    report_id: bytes
    position: int
    flags: int
    cell: bytes
    histograms: bytes


def week_number(week: Week) -> int:
    """A week as SQL holds it: 2026-W47 is 202647."""
    return week.year * 100 + week.number


def week_of(number: int) -> Week:
    """The week of such a number."""
    return Week(*divmod(number, 100))


def rows_of(report: Report, packing: Packing) -> list[StagedRow]:
    """A report's rows, by position."""
    report_id, flags = bytes.fromhex(report.report_id), _flags(report)
    return [StagedRow(report_id, at, flags, *packing.pack(cell)) for at, cell in enumerate(report.cells)]


def report_of(rows: Sequence[StagedRow], week: Week, packing: Packing) -> Report:
    """The report of which these are the rows, by position."""
    flags = rows[0].flags
    return Report(
        report_id=rows[0].report_id.hex(),
        week=week,
        schema_version=packing.schema.version,
        purposes=frozenset(purpose for purpose in PURPOSES if flags & FLAG[purpose]),
        cells=tuple(packing.unpack(row.cell, row.histograms) for row in rows),
        synthetic=bool(flags & SYNTHETIC),
    )


def _flags(report: Report) -> int:
    return sum(FLAG[purpose] for purpose in report.purposes) + SYNTHETIC * report.synthetic
