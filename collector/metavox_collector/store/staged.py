"""Staged reports <-> rows. Histograms are kept sparse: most of a report's 64 buckets are empty."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, delete, select

from metavox_collector.store import rewriting
from metavox_collector.store.tables import Staging, Tables
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.report import Histogram, Report, ReportCell
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

_ROWS_AT_A_TIME = 1000  # below every SQLite's limit of variables too, which is 32,766 or less


def add(connection: Connection, tables: Tables, schema: Schema, reports: Collection[Report]) -> int:
    """Insert the reports whose ids are new; returns how many that were."""
    by_id = {report.report_id: report for report in reports}
    known = _known(connection, tables, list(by_id))
    new = [report for name, report in by_id.items() if name not in known]
    if new:
        into = rewriting.receiving(connection, tables)
        connection.execute(into.report.insert(), [_report_row(report) for report in new])
        connection.execute(into.cell.insert(), [row for report in new for row in _cell_rows(report, schema)])
    return len(new)


def _known(connection: Connection, tables: Tables, ids: Sequence[str]) -> set[str]:
    return {name for part in tables.staging for name in _present(connection, part.report.c.report_id, ids)}


def _present(connection: Connection, column: Column[str], ids: Sequence[str]) -> set[str]:
    parts = (ids[start : start + _ROWS_AT_A_TIME] for start in range(0, len(ids), _ROWS_AT_A_TIME))
    return {name for part in parts for name in connection.scalars(select(column).where(column.in_(part)))}


def stream(
    connection: Connection, tables: Tables, schema: Schema, week: Week, purpose: Purpose
) -> Iterator[Report]:
    """Read a week's reports that permit a purpose, a thousand cells at a time."""
    for part in tables.staging:
        yield from _stream(connection, part, schema, week, purpose)


def _stream(
    connection: Connection, part: Staging, schema: Schema, week: Week, purpose: Purpose
) -> Iterator[Report]:
    report, cell = part.report, part.cell
    query = (
        select(report, *(column for column in cell.c if column.name != "report_id"))
        .join_from(report, cell)
        .where(report.c.week == str(week), report.c[purpose])
        .order_by(report.c.report_id, cell.c.position)
        .execution_options(yield_per=_ROWS_AT_A_TIME)
    )
    rows = connection.execute(query).mappings()
    for _, group in itertools.groupby(rows, key=lambda row: row["report_id"]):
        yield _report(list(group), schema)


def any_synthetic(connection: Connection, tables: Tables) -> bool:
    """Whether a report of any week was simulated."""
    queries = (select(part.report.c.report_id).where(part.report.c.synthetic).limit(1) for part in tables.staging)
    return any(connection.scalar(query) is not None for query in queries)


def destroy(connection: Connection, tables: Tables, week: Week) -> None:
    """Delete a week's cells and reports, and what names its deleted ones."""
    _destroy(connection, tables, lambda column: column == str(week))


def destroy_before(connection: Connection, tables: Tables, week: Week) -> int:
    """Delete the same of every earlier week; returns how many reports that were."""
    return _destroy(connection, tables, lambda column: column < str(week))  # 2026-W09 < 2026-W10 as text too


def _destroy(connection: Connection, tables: Tables, which: Callable[[Column[str]], ColumnElement[bool]]) -> int:
    number = sum(_delete(connection, part, which(part.report.c.week)) for part in tables.staging)
    gone = tables.deleted_report
    forgotten = connection.execute(delete(gone).where(which(gone.c.week))).rowcount
    if number or forgotten:
        rewriting.ask(connection, tables)
    return number


def week_of(connection: Connection, tables: Tables, report_id: str) -> str | None:
    """The week of a staged report; None when there is none of that name."""
    queries = (select(part.report.c.week).where(part.report.c.report_id == report_id) for part in tables.staging)
    return next((week for query in queries if (week := connection.scalar(query)) is not None), None)


def delete_one(connection: Connection, tables: Tables, report_id: str) -> bool:
    """Delete a report and its cells; whether there was one.

    Its tombstone stays until the week is closed: a delivery that is still on its way would bring the report back.
    """
    week = week_of(connection, tables, report_id)
    if week is None:
        return False
    for part in tables.staging:
        _delete(connection, part, part.report.c.report_id == report_id)
    connection.execute(tables.deleted_report.insert(), {"tombstone": tombstone(report_id), "week": week})
    rewriting.ask(connection, tables)
    return True


def deleted_among(connection: Connection, tables: Tables, ids: Collection[str]) -> frozenset[str]:
    """Those of the ids that have a tombstone."""
    by_tombstone = {tombstone(report_id): report_id for report_id in ids}
    found = _present(connection, tables.deleted_report.c.tombstone, list(by_tombstone))
    return frozenset(by_tombstone[name] for name in found)


def tombstone(report_id: str) -> str:
    """What is kept of a deleted report: it can be recognised by whoever has its name, and gives no name away."""
    return hashlib.sha256(f"deleted {report_id}".encode()).hexdigest()


def _delete(connection: Connection, part: Staging, which: ColumnElement[bool]) -> int:
    report, cell = part.report, part.cell
    connection.execute(delete(cell).where(cell.c.report_id.in_(select(report.c.report_id).where(which))))
    return connection.execute(delete(report).where(which)).rowcount


def _report_row(report: Report) -> dict[str, Any]:
    return {
        "report_id": report.report_id,
        "week": str(report.week),
        "schema_version": report.schema_version,
        "synthetic": report.synthetic,
        **{purpose: purpose in report.purposes for purpose in PURPOSES},
    }


def _cell_rows(report: Report, schema: Schema) -> Iterator[dict[str, Any]]:
    names = [dimension.name for dimension in schema.dimensions]
    for position, cell in enumerate(report.cells):
        yield {
            "report_id": report.report_id,
            "position": position,
            **dict(zip(names, cell.key, strict=True)),
            "histograms": {name: _sparse(units) for name, units in cell.histograms.items()},
        }


def _report(rows: list[RowMapping], schema: Schema) -> Report:
    first = rows[0]
    return Report(
        report_id=first["report_id"],
        week=Week.parse(first["week"]),
        schema_version=first["schema_version"],
        purposes=frozenset(purpose for purpose in PURPOSES if first[purpose]),
        cells=tuple(_cell(row, schema) for row in rows),
        synthetic=first["synthetic"],
    )


def _cell(row: RowMapping, schema: Schema) -> ReportCell:
    histograms: Mapping[str, list[tuple[int, int]]] = row["histograms"]
    return ReportCell(
        tuple(row[dimension.name] for dimension in schema.dimensions),
        {name: _dense(pairs, schema.metric[name].buckets) for name, pairs in histograms.items()},
    )


def _sparse(units: Histogram) -> list[tuple[int, int]]:
    return [(bucket, value) for bucket, value in enumerate(units) if value]


def _dense(pairs: list[tuple[int, int]], buckets: int) -> Histogram:
    units = [0] * buckets
    for bucket, value in pairs:
        units[bucket] = value
    return tuple(units)
