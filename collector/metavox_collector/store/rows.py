"""Reports <-> the rows that are staged of them: one for each cell, all numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metavox_collector.packing import PERMITS, SYNTHETIC, Packing, flags_of
from metavox_privacy.fields import PURPOSES
from metavox_privacy.report import Report
from metavox_privacy.week import Week


class StagedRow(NamedTuple):
    """One cell of one staged report, as SQL holds it beside its week.

    Attributes:
        report_id: 32 bytes.
        position: The cell's place in its report, from 0.
        flags: What the report permits, see :func:`~metavox_collector.packing.flags_of`; the same in all its rows.
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
    report_id, flags = bytes.fromhex(report.report_id), flags_of(report)
    return [StagedRow(report_id, at, flags, *packing.pack(cell)) for at, cell in enumerate(report.cells)]


def report_of(rows: Sequence[StagedRow], week: Week, packing: Packing) -> Report:
    """The report of which these are the rows, by position."""
    flags = rows[0].flags
    return Report(
        report_id=rows[0].report_id.hex(),
        week=week,
        schema_version=packing.schema.version,
        purposes=frozenset(purpose for purpose in PURPOSES if flags & PERMITS[purpose]),
        cells=tuple(packing.unpack(row.cell, row.histograms) for row in rows),
        synthetic=bool(flags & SYNTHETIC),
    )
