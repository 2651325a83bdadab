"""Releases <-> rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, exists, func, select

from metavox_collector.store.tables import Tables
from metavox_privacy.fields import Purpose, Scope
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.week import Week


@dataclass(frozen=True, slots=True)
class LabelledRelease:
    """A release, and whether it was made in a sandbox; it must never be shown without saying so."""

    release: Release
    synthetic: bool


@dataclass(frozen=True, slots=True)
class ReleaseSummary:
    """The facts of a release, and how many cells each of its tables published."""

    week: Week
    weeks: int
    purpose: Purpose
    scope: Scope
    schema_version: int
    nano_rho: int
    synthetic: bool
    cells: Mapping[str, int]


def add(connection: Connection, tables: Tables, labelled: LabelledRelease, sequence: int) -> None:
    """Write one release, which the ledger's entry of that number has paid for."""
    release = labelled.release
    name = {"week": str(release.week), "purpose": release.purpose}
    facts = {name: getattr(release, name) for name in ("weeks", "scope", "schema_version", "nano_rho")}
    row = {**name, **facts, "synthetic": labelled.synthetic, "sequence": sequence}
    connection.execute(tables.release.insert(), row)
    for position, table in enumerate(release.tables):
        named = {**name, "table_name": table.name}
        connection.execute(tables.released_table.insert(), {**named, **_facts(table), "position": position})
        if table.cells:
            rows = [{**named, "position": i, **_cell_row(cell)} for i, cell in enumerate(table.cells)]
            connection.execute(tables.released_cell.insert(), rows)


def get(connection: Connection, tables: Tables, week: Week, purpose: Purpose) -> LabelledRelease | None:
    """Read one release back, None when there is none."""
    row = _of(connection, tables.release, week, purpose)
    if not row:
        return None
    cells: dict[str, list[ReleasedCell]] = {}
    for cell in _of(connection, tables.released_cell, week, purpose, "table_name", "position"):
        cells.setdefault(cell["table_name"], []).append(_cell(cell))
    released = tuple(
        _table(table, tuple(cells.get(table["table_name"], ())))
        for table in _of(connection, tables.released_table, week, purpose, "position")
    )
    facts = row[0]
    release = Release(
        week, facts["weeks"], purpose, facts["scope"], facts["schema_version"], facts["nano_rho"], released
    )
    return LabelledRelease(release, facts["synthetic"])


def summaries(connection: Connection, tables: Tables, purpose: Purpose) -> Sequence[ReleaseSummary]:
    """The releases for a purpose, oldest first, their cells counted and not read."""
    part, cell = tables.released_table, tables.released_cell
    query = (
        select(part.c.week, part.c.table_name, func.count(cell.c.position))
        .outerjoin_from(part, cell)
        .where(part.c.purpose == purpose)
        .group_by(part.c.week, part.c.table_name, part.c.position)
        .order_by(part.c.week, part.c.position)
    )
    cells: dict[str, dict[str, int]] = {}
    for week, name, number in connection.execute(query):
        cells.setdefault(week, {})[name] = number
    release = tables.release
    rows = connection.execute(
        select(release).where(release.c.purpose == purpose).order_by(release.c.week)
    ).mappings()
    return [_summary(row, cells[row["week"]]) for row in rows]


def _summary(row: RowMapping, cells: Mapping[str, int]) -> ReleaseSummary:
    facts = {name: value for name, value in row.items() if name not in ("week", "sequence")}
    return ReleaseSummary(week=Week.parse(row["week"]), cells=cells, **facts)


def newest(connection: Connection, tables: Tables, purpose: Purpose, schema_version: int) -> Week | None:
    """The last week that was released for a purpose under a version of the schema and not withdrawn, or None."""
    release, ledger = tables.release, tables.ledger
    same = (ledger.c.week == release.c.week, ledger.c.purpose == release.c.purpose)
    withdrawn = exists().where(*same, ledger.c.reason == "withdrawn")
    which = (release.c.purpose == purpose, release.c.schema_version == schema_version, ~withdrawn)
    week = connection.scalar(select(func.max(release.c.week)).where(*which))  # 2026-W09 < 2026-W10 as text too
    return None if week is None else Week.parse(week)


def drop_file(connection: Connection, tables: Tables, week: Week, purpose: Purpose) -> None:
    """Delete a release's file, if there is one."""
    table = tables.newest_file
    connection.execute(table.delete().where(table.c.week == str(week), table.c.purpose == purpose))


def keep_file(
    connection: Connection, tables: Tables, week: Week, purpose: Purpose, schema_version: int, zipped: bytes
) -> None:
    """Write a release's file in the place of what was there for the purpose."""
    table = tables.newest_file
    connection.execute(table.delete().where(table.c.purpose == purpose))
    row = {"week": str(week), "purpose": purpose, "schema_version": schema_version, "zipped": zipped}
    connection.execute(table.insert(), row)


def newest_file(
    connection: Connection, tables: Tables, purpose: Purpose, schema_version: int
) -> tuple[Week, bytes] | None:
    """The file for a purpose under a version of the schema, and its week; None when there is none."""
    table = tables.newest_file
    which = (table.c.purpose == purpose, table.c.schema_version == schema_version)
    row = connection.execute(select(table.c.week, table.c.zipped).where(*which)).one_or_none()
    return None if row is None else (Week.parse(row.week), row.zipped)


def _of(connection: Connection, table: Table, week: Week, purpose: Purpose, *order: str) -> Sequence[RowMapping]:
    query = select(table).where(table.c.week == str(week), table.c.purpose == purpose)
    return connection.execute(query.order_by(*(table.c[name] for name in order))).mappings().all()


def _facts(table: ReleasedTable) -> dict[str, Any]:
    names = ("dimensions", "keys", "count_scale", "histogram_scales", "threshold")
    return {name: getattr(table, name) for name in names}


def _cell_row(cell: ReleasedCell) -> dict[str, Any]:
    return {"key": cell.key, "contributors": cell.contributors, "histograms": cell.histograms}


def _table(row: RowMapping, cells: tuple[ReleasedCell, ...]) -> ReleasedTable:
    return ReleasedTable(
        name=row["table_name"],
        dimensions=tuple(row["dimensions"]),
        keys=row["keys"],
        count_scale=row["count_scale"],
        histogram_scales=row["histogram_scales"],
        threshold=row["threshold"],
        cells=cells,
    )


def _cell(row: RowMapping) -> ReleasedCell:
    histograms: Mapping[str, list[int]] = row["histograms"]
    return ReleasedCell(
        tuple(row["key"]), row["contributors"], {name: tuple(units) for name, units in histograms.items()}
    )
