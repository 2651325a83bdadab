"""Periods of several weeks, scopes, corrections, a scale for each metric, and the file for whoever asks.

What is released is hashed in another form from here on, so a ledger cannot be carried over. No version of this
software that could have filled one was published before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from metavox_collector.errors import WrongDatabase
from metavox_collector.store.migrations.versions import v0001_tables as first

revision = "0002"
down_revision = "0001"

_KEY = ("week", "purpose")
_TABLES = ("released_cell", "released_table", "release", "ledger")


def upgrade() -> None:
    """Make the tables of releases anew."""
    _require_unused()
    for name in _TABLES:
        op.drop_table(name)
    _ledger()
    _release()
    _released_table()
    first.released_cell()
    op.create_table(
        "newest_file",
        sa.Column("week", sa.String(8), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("zipped", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(list(_KEY), [f"release.{name}" for name in _KEY]),
    )


def downgrade() -> None:
    """Make them as they were, with nothing in them."""
    op.drop_table("newest_file")
    for name in _TABLES:
        op.drop_table(name)
    first.releases()


def _require_unused() -> None:
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM ledger")):
        raise WrongDatabase(
            "the ledger has entries of another version of this software, which this one cannot verify; export its "
            "releases with that version and begin a new database; nothing was changed"
        )


def _ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("week", sa.String(8), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("weeks", sa.SmallInteger, nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("nano_rho", sa.BigInteger, nullable=False),
        sa.Column("yearly_cap", sa.BigInteger, nullable=False),
        sa.Column("sandbox", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False, unique=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
    )


def _release() -> None:
    op.create_table(
        "release",
        sa.Column("week", sa.String(8), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("weeks", sa.SmallInteger, nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("nano_rho", sa.BigInteger, nullable=False),
        sa.Column("synthetic", sa.Boolean, nullable=False),
        sa.Column("sequence", sa.Integer, sa.ForeignKey("ledger.sequence"), nullable=False, unique=True),
    )


def _released_table() -> None:
    op.create_table(
        "released_table",
        sa.Column("week", sa.String(8), primary_key=True),
        sa.Column("purpose", sa.String(16), primary_key=True),
        sa.Column("table_name", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("dimensions", sa.JSON, nullable=False),
        sa.Column("keys", sa.Integer, nullable=False),
        sa.Column("count_scale", sa.Float, nullable=False),
        sa.Column("histogram_scales", sa.JSON, nullable=False),
        sa.Column("threshold", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(list(_KEY), [f"release.{name}" for name in _KEY]),
    )
