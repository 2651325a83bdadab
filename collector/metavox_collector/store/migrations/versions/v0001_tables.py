"""The tables that a new database begins with. What each is for stands in ``store/tables.py``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    _collector()
    if op.get_bind().dialect.name == "postgresql":  # SQLite's has a table for each week, made when it is needed
        _staged_cell()
    _deleted_report()
    releases()


def releases() -> None:
    """Make the ledger, and the tables of what it paid for."""
    _ledger()
    _release()
    _released_table()
    released_cell()


def downgrade() -> None:
    """Destroy them, with everything in them."""
    for name in ("released_cell", "released_table", "release", "ledger", "deleted_report", "collector"):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.drop_table("staged_cell")  # its partitions go with it
        return
    for week in _weeks_staged():
        op.drop_table(week)


def _weeks_staged() -> list[str]:
    names = sa.inspect(op.get_bind()).get_table_names()
    return [name for name in names if name.startswith("staged_cell_")]


def _collector() -> None:
    op.create_table(
        "collector",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sandbox", sa.Boolean, nullable=False),
        sa.Column("yearly_cap", sa.BigInteger, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("schema_fingerprint", sa.String(64), nullable=False),
    )


def _staged_cell() -> None:
    op.create_table(
        "staged_cell",
        sa.Column("week", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("report_id", sa.LargeBinary, primary_key=True),
        sa.Column("position", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("flags", sa.SmallInteger, nullable=False),
        sa.Column("cell", sa.LargeBinary, nullable=False),
        sa.Column("histograms", sa.LargeBinary, nullable=False),
        postgresql_partition_by="LIST (week)",
    )


def _deleted_report() -> None:
    op.create_table(
        "deleted_report",
        sa.Column("tombstone", sa.LargeBinary, primary_key=True),
        sa.Column("week", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("due", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )


def _ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("week", sa.String(8), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("nano_rho", sa.BigInteger, nullable=False),
        sa.Column("yearly_cap", sa.BigInteger, nullable=False),
        sa.Column("sandbox", sa.Boolean, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False, unique=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.UniqueConstraint("week", "purpose"),
    )


def _release() -> None:
    op.create_table(
        "release",
        sa.Column("week", sa.String(8), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("nano_rho", sa.BigInteger, nullable=False),
        sa.Column("synthetic", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(["week", "purpose"], ["ledger.week", "ledger.purpose"]),
    )


def _released_table() -> None:
    op.create_table(
        "released_table",
        sa.Column("week", sa.String(8), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("table_name", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("keys", sa.Integer, nullable=False),
        sa.Column("count_scale", sa.Float, nullable=False),
        sa.Column("histogram_scale", sa.Float, nullable=False),
        sa.Column("threshold", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["week", "purpose"], ["release.week", "release.purpose"]),
    )


def released_cell() -> None:
    """Make the table of what was published."""
    key = ("week", "purpose", "table_name")
    op.create_table(
        "released_cell",
        sa.Column("week", sa.String(8), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("table_name", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.JSON, nullable=False),
        sa.Column("contributors", sa.Integer, nullable=False),
        sa.Column("histograms", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(list(key), [f"released_table.{name}" for name in key]),
    )
