"""The tables. Those that carry dimensions derive from the schema, so SQL can hold nothing that it does not name.

There is no column for a moment of receipt, an address or an installation. The staging tables are without SQLite's
hidden rowid too, which would keep the order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from metavox_privacy.schema import Schema


@dataclass(frozen=True)
class Staging:
    """Where reports wait: one table for them, and one for their cells."""

    report: Table
    cell: Table


@dataclass(frozen=True)
class Tables:
    """One schema's tables.

    Attributes:
        collector: One row: what kind of database this is, what a year may cost, and under which schema its
            staged reports are.
        staging: Reports of weeks that are not closed, and their cells, one column for each dimension; closing
            destroys them. Twice, so that they can be moved from one place to the other, see ``rewriting``.
        rewriting: One row: which of the two takes new reports, and whether both may hold copies of deleted rows.
        deleted_report: What names a report that was deleted, so that no late delivery brings it back, and says
            nothing else; goes with its week.
        ledger: Everything ever spent, hash-chained.
        release: One row for each week and purpose that was released.
        released_table: The facts of each table of a release.
        released_cell: What was published, noisy.
    """

    metadata: MetaData
    collector: Table
    staging: tuple[Staging, Staging]
    rewriting: Table
    deleted_report: Table
    ledger: Table
    release: Table
    released_table: Table
    released_cell: Table


def tables_of(schema: Schema) -> Tables:
    """Derive the tables from a schema."""
    metadata = MetaData()
    return Tables(
        metadata,
        _collector(metadata),
        (_staging(metadata, schema, ""), _staging(metadata, schema, "_2")),
        _rewriting(metadata),
        _deleted_report(metadata),
        _ledger(metadata),
        _release(metadata),
        _released_table(metadata),
        _released_cell(metadata),
    )


def _collector(metadata: MetaData) -> Table:
    return Table(
        "collector",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("sandbox", Boolean, nullable=False),
        Column("yearly_cap", BigInteger, nullable=False),
        Column("schema_version", Integer, nullable=False),
        Column("schema_fingerprint", String(64), nullable=False),
    )


def _staging(metadata: MetaData, schema: Schema, end: str) -> Staging:
    report = _staged_report(metadata, f"staged_report{end}")
    return Staging(report, _staged_cell(metadata, schema, f"staged_cell{end}", report))


def _staged_report(metadata: MetaData, name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("report_id", String(64), primary_key=True),
        Column("week", String(8), nullable=False, index=True),
        Column("schema_version", Integer, nullable=False),
        Column("improve", Boolean, nullable=False),
        Column("publish", Boolean, nullable=False),
        Column("synthetic", Boolean, nullable=False),
        sqlite_with_rowid=False,
    )


def _staged_cell(metadata: MetaData, schema: Schema, name: str, report: Table) -> Table:
    return Table(
        name,
        metadata,
        Column("report_id", ForeignKey(report.c.report_id, ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        *(Column(dimension.name, Text, nullable=False) for dimension in schema.dimensions),
        Column("histograms", JSON, nullable=False),
        sqlite_with_rowid=False,
    )


def _rewriting(metadata: MetaData) -> Table:
    return Table(
        "rewriting",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("receiving", Integer, nullable=False),
        Column("due", Boolean, nullable=False),
    )


def _deleted_report(metadata: MetaData) -> Table:
    return Table(
        "deleted_report",
        metadata,
        Column("tombstone", String(64), primary_key=True),
        Column("week", String(8), nullable=False),
        sqlite_with_rowid=False,
    )


def _ledger(metadata: MetaData) -> Table:
    return Table(
        "ledger",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        *_release_key(),
        Column("schema_version", Integer, nullable=False),
        Column("nano_rho", BigInteger, nullable=False),
        Column("yearly_cap", BigInteger, nullable=False),
        Column("sandbox", Boolean, nullable=False),
        Column("release", String(64), nullable=False),
        Column("previous", String(64), nullable=False, unique=True),
        Column("hash", String(64), nullable=False, unique=True),
        UniqueConstraint("week", "purpose"),
    )


def _release(metadata: MetaData) -> Table:
    return Table(
        "release",
        metadata,
        *_release_key(primary_key=True),
        Column("schema_version", Integer, nullable=False),
        Column("nano_rho", BigInteger, nullable=False),
        Column("synthetic", Boolean, nullable=False),
        ForeignKeyConstraint(["week", "purpose"], ["ledger.week", "ledger.purpose"]),
    )


def _released_table(metadata: MetaData) -> Table:
    return Table(
        "released_table",
        metadata,
        *_release_key(primary_key=True),
        Column("table_name", String(64), primary_key=True),
        Column("position", Integer, nullable=False),
        Column("keys", Integer, nullable=False),
        Column("count_scale", Float, nullable=False),
        Column("histogram_scale", Float, nullable=False),
        Column("threshold", Integer, nullable=False),
        ForeignKeyConstraint(["week", "purpose"], ["release.week", "release.purpose"]),
    )


def _released_cell(metadata: MetaData) -> Table:
    key = ("week", "purpose", "table_name")
    return Table(
        "released_cell",
        metadata,
        *_release_key(primary_key=True),
        Column("table_name", String(64), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("key", JSON, nullable=False),
        Column("contributors", Integer, nullable=False),
        Column("histograms", JSON, nullable=False),
        ForeignKeyConstraint(key, [f"released_table.{name}" for name in key]),
    )


def _release_key(*, primary_key: bool = False) -> tuple[Column[str], Column[str]]:
    return (
        Column("week", String(8), primary_key=primary_key, nullable=False),
        Column("purpose", String(16), primary_key=primary_key, nullable=False),
    )
