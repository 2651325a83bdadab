"""The tables. What is staged is numbers, so that SQL can hold nothing that the schema does not name.

There is no column for a moment of receipt, an address or an installation.

What is staged has a table for each week, which is not among those of here: in PostgreSQL a partition of
``staged_cell``, in SQLite a table without the hidden rowid, which would keep the order of arrival.
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
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
)


@dataclass(frozen=True)
class Tables:
    """The tables that a kind of database is made with.

    Attributes:
        collector: One row: what kind of database this is, what a year may cost, and under which schema its
            staged reports are.
        deleted_report: What names a report that was to be deleted, so that no late delivery brings it back, and
            says nothing else.
        ledger: Everything ever spent, hash-chained.
        release: One row for each period and purpose that was released, by the ledger entry that paid for it.
        released_table: The facts of each table of a release.
        released_cell: What was published, noisy.
        newest_file: What ``GET /v1/releases/latest`` answers; it takes too long to make while somebody waits.
    """

    metadata: MetaData
    collector: Table
    deleted_report: Table
    ledger: Table
    release: Table
    released_table: Table
    released_cell: Table
    newest_file: Table


def tables_of(dialect: str) -> Tables:
    """The tables of ``"sqlite"`` or ``"postgresql"``."""
    metadata = MetaData()
    if dialect == "postgresql":
        _staged_cell(metadata)
    return Tables(
        metadata,
        _collector(metadata),
        _deleted_report(metadata),
        _ledger(metadata),
        _release(metadata),
        _released_table(metadata),
        _released_cell(metadata),
        _newest_file(metadata),
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


def _staged_cell(metadata: MetaData) -> Table:
    return Table(
        "staged_cell",
        metadata,
        Column("week", Integer, primary_key=True, autoincrement=False),
        Column("report_id", LargeBinary, primary_key=True),
        Column("position", SmallInteger, primary_key=True, autoincrement=False),
        Column("flags", SmallInteger, nullable=False),
        Column("cell", LargeBinary, nullable=False),
        Column("histograms", LargeBinary, nullable=False),
        postgresql_partition_by="LIST (week)",
    )


def _deleted_report(metadata: MetaData) -> Table:
    return Table(
        "deleted_report",
        metadata,
        Column("tombstone", LargeBinary, primary_key=True),
        Column("week", Integer, primary_key=True, autoincrement=False),
        Column("due", Boolean, nullable=False),
        sqlite_with_rowid=False,
    )


def _ledger(metadata: MetaData) -> Table:
    return Table(
        "ledger",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        *_release_key(),
        Column("weeks", SmallInteger, nullable=False),
        Column("scope", String(8), nullable=False),
        Column("schema_version", Integer, nullable=False),
        Column("nano_rho", BigInteger, nullable=False),
        Column("yearly_cap", BigInteger, nullable=False),
        Column("sandbox", Boolean, nullable=False),
        Column("reason", String(32), nullable=False),
        Column("release", String(64), nullable=False),
        Column("previous", String(64), nullable=False, unique=True),
        Column("hash", String(64), nullable=False, unique=True),
    )


def _release(metadata: MetaData) -> Table:
    return Table(
        "release",
        metadata,
        *_release_key(primary_key=True),
        Column("weeks", SmallInteger, nullable=False),
        Column("scope", String(8), nullable=False),
        Column("schema_version", Integer, nullable=False),
        Column("nano_rho", BigInteger, nullable=False),
        Column("synthetic", Boolean, nullable=False),
        Column("sequence", Integer, ForeignKey("ledger.sequence"), nullable=False, unique=True),
    )


def _released_table(metadata: MetaData) -> Table:
    return Table(
        "released_table",
        metadata,
        *_release_key(primary_key=True),
        Column("table_name", String(64), primary_key=True),
        Column("position", Integer, nullable=False),
        Column("dimensions", JSON, nullable=False),
        Column("keys", Integer, nullable=False),
        Column("count_scale", Float, nullable=False),
        Column("histogram_scales", JSON, nullable=False),
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


def _newest_file(metadata: MetaData) -> Table:
    return Table(
        "newest_file",
        metadata,
        *_release_key(primary_key=True),
        Column("schema_version", Integer, nullable=False),
        Column("zipped", LargeBinary, nullable=False),
        ForeignKeyConstraint(["week", "purpose"], ["release.week", "release.purpose"]),
    )


def _release_key(*, primary_key: bool = False) -> tuple[Column[str], Column[str]]:
    return (
        Column("week", String(8), primary_key=primary_key, nullable=False),
        Column("purpose", String(16), primary_key=primary_key, nullable=False),
    )
