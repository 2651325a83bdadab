"""What other machines need to read a week's rows from PostgreSQL themselves, side by side, over JDBC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from metavox_collector.errors import NotAllowed
from metavox_collector.store.postgres_staged import cells, query
from metavox_collector.store.rows import week_number
from metavox_collector.store.transaction import Transaction
from metavox_privacy.week import Week

_EDGES = 1 << 16
"""Slices begin at the first two bytes of a report's name; those are random, so that slices are of one size."""

_SAME_IN_JDBC = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey"})

_ELSE = "set METAVOX_COLLECTOR_SPARK_DB to a URL like postgresql://user@host/database"


@dataclass(frozen=True)
class JdbcSource:
    """A database, as Java's driver is told of it.

    Attributes:
        url: Holds neither user nor password.
        properties: Those two, if there are any, and how TLS is to be done.
    """

    url: str
    properties: dict[str, str] = field(repr=False)


def jdbc_source(db: str, other: str | None = None) -> JdbcSource:
    """A database as other machines reach it.

    Args:
        db: Its URL, as SQLAlchemy writes it.
        other: The URL to take in its place for them.

    Raises:
        NotAllowed: if it is not PostgreSQL over TCP, or has a parameter that is not known to mean the same in JDBC.
    """
    if _parsed(db).get_backend_name() != "postgresql":
        raise NotAllowed("several machines read at once from PostgreSQL alone; close with --engine sql")
    url = _parsed(other or db)
    if url.get_backend_name() != "postgresql" or not url.host or not url.database:
        raise NotAllowed(f"Spark's executors reach PostgreSQL over TCP, by host and database; {_ELSE}")
    unknown = sorted(set(url.query) - _SAME_IN_JDBC)
    if unknown:
        raise NotAllowed(
            f"the parameter {unknown[0]} of the database's URL means nothing to Java's driver; {_ELSE}"
        )
    host = f"[{url.host}]" if ":" in url.host else url.host
    given = {"user": url.username, "password": url.password, **url.query}
    return JdbcSource(
        f"jdbc:postgresql://{host}:{url.port or 5432}/{url.database}",
        {name: str(value) for name, value in given.items() if value is not None},
    )


def staged_query(week: Week) -> str:
    """Selects a week's rows by report and position; the week has to have some."""
    return query(week_number(week))


def staged_cells(transaction: Transaction, week: Week) -> int:
    """How many rows that query finds, or 0 where it cannot be asked because nobody ever reported."""
    return cells(transaction.connection, week_number(week))


def slices(number: int) -> Sequence[str]:
    """Conditions for as many slices of what :func:`staged_query` finds, 1 to 65,536; a report is in one whole."""
    edges = [_EDGES * at // number for at in range(number + 1)]
    return [_between(*edges[at : at + 2]) for at in range(number)]


def _between(first: int, end: int) -> str:
    lower = f"report_id >= '\\x{first:04x}'::bytea"
    return lower if end == _EDGES else f"{lower} AND report_id < '\\x{end:04x}'::bytea"


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise NotAllowed(f"the database's URL is not understood; {_ELSE}") from None
