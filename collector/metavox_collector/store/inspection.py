"""What there is to know about a database beside what it holds: whose, how old, how sound, how durable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError

from metavox_collector.store import migrations
from metavox_collector.store.engine import connected, disposed_on_error, open_engine, told
from metavox_collector.store.tables import tables_of
from metavox_collector.store.transaction import Transaction

_TELLING = (
    *("track_commit_timestamp", "log_statement", "log_min_duration_statement", "log_min_duration_sample"),
    *("log_transaction_sample_rate", "log_parameter_max_length", "log_parameter_max_length_on_error"),
    "log_error_verbosity",
)
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
TABLES = ("alembic_version", *tables_of("postgresql").metadata.tables)
"""The names of PostgreSQL's tables, but for the partitions of what is staged."""


@dataclass(frozen=True)
class Server:
    """The software that holds the database.

    Attributes:
        name: Like ``PostgreSQL 15.6``.
        major: Like 15.
        now: Its clock; None for SQLite, which has none of its own.
        durability: What decides whether a commit is on the disk, as this connection has it.
        telling: What decides whether the server keeps more of a report than the collector has it store.
    """

    name: str
    major: int
    now: datetime | None
    durability: Mapping[str, str]
    telling: Mapping[str, str]


def is_there(url: str, busy_timeout: float = 5) -> bool:
    """Whether a PostgreSQL database holds a collector's tables already.

    Raises:
        StoreUnavailable: if it is busy or cannot be reached.
    """
    engine = open_engine(url, busy_timeout)
    with disposed_on_error(engine), told(engine.url), connected(engine, writes=False) as connection:
        there = any(inspect(connection).has_table(name) for name in TABLES)
    engine.dispose()
    return there


def server(transaction: Transaction) -> Server:
    """Who answers."""
    connection = transaction.connection
    if connection.dialect.name == "sqlite":
        version = _one(connection, "SELECT sqlite_version()")
        levels = {"0": "off", "1": "normal", "2": "full", "3": "extra"}
        synchronous = levels[_one(connection, "PRAGMA synchronous")]
        journal = _one(connection, "PRAGMA journal_mode")
        durability = {"synchronous": synchronous, "journal_mode": journal}
        return Server(f"SQLite {version}", int(version.partition(".")[0]), None, durability, {})
    version = _one(connection, "SHOW server_version").split()[0]
    durability = {name: _one(connection, f"SHOW {name}") for name in _DURABLE}
    telling = {name: _one(connection, f"SHOW {name}") for name in _TELLING}
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()  # last, since it is old at once
    return Server(f"PostgreSQL {version}", int(version.partition(".")[0]), now, durability, telling)


def damages(transaction: Transaction) -> list[str]:
    """What is broken in SQLite's own structure, in its own words; it reads all of the file.

    PostgreSQL has a program for that, ``pg_amcheck``; here the checksums of what is read have to do.
    """
    connection = transaction.connection
    if connection.dialect.name != "sqlite":
        return []
    try:
        found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(10)"))]
        orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
    except DatabaseError as error:  # so broken that it cannot be looked at
        return [str(error.orig)]
    return [words for words in found if words != "ok"] + [
        f"a row of {row[0]} belongs to nothing" for row in orphans
    ]


def revision(transaction: Transaction) -> str | None:
    """The last migration that ran."""
    return migrations.revision(transaction.connection)


def _one(connection: Connection, query: str) -> str:
    return str(connection.execute(text(query)).scalar_one())
