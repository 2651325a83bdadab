"""Reaching a database: its engine, its transactions, and its errors in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from metavox_collector.errors import CollectorError, StoreUnavailable, WrongDatabase
from metavox_collector.store import postgres, sqlite
from metavox_collector.store.patience import without_limit


def open_engine(url: str, busy_timeout: float) -> Engine:
    """The engine of a database; nothing is reached yet.

    Args:
        url: As SQLAlchemy writes it.
        busy_timeout: How long to wait for a lock or a connection, in seconds.

    Raises:
        WrongDatabase: if the URL is not understood, or names another kind of database.
    """
    try:
        parsed = make_url(url)
        kind = _backend(parsed)
        if kind == "sqlite":
            sqlite.require_file(parsed)
        else:
            parsed = postgres.with_driver(parsed)
        options = postgres.engine_options(parsed, busy_timeout) if kind == "postgresql" else {}
        # Parameters may be a person's report: they are kept out of every message and log.
        engine = create_engine(parsed, hide_parameters=True, **options)
    except ArgumentError as error:
        raise WrongDatabase(f"the database's URL is not understood; {_WRITE_IT} ({type(error).__name__})") from None
    if kind == "sqlite":
        sqlite.prepare(engine, busy_timeout)
    else:
        postgres.prepare(engine, busy_timeout)
    return engine


def _backend(url: URL) -> str:
    """``"sqlite"`` or ``"postgresql"``; raises WrongDatabase."""
    if url.drivername not in _DRIVERS:
        raise WrongDatabase(f"{url.drivername} is no database for a collector; {_WRITE_IT}")
    return _DRIVERS[url.drivername]


_DRIVERS = {
    **dict.fromkeys(("sqlite", "sqlite+pysqlite"), "sqlite"),
    **dict.fromkeys(("postgresql", "postgresql+psycopg"), "postgresql"),
}

_WRITE_IT = "write it like sqlite:///collector.db or postgresql://user@host/database"


@contextmanager
def connected(engine: Engine, *, writes: bool, takes_time: bool = False) -> Iterator[Connection]:
    """A transaction; one that does not write sees one state of the database.

    Args:
        engine: Whose.
        writes: Whether it is to change anything.
        takes_time: Whether its statements may take as long as they do; else PostgreSQL has to answer in time.

    Raises:
        StoreUnavailable: if the database is busy or away.
        CollectorError: if it refuses for another reason.
    """
    options: dict[str, Any] = {sqlite.WRITES: writes}
    if engine.dialect.name == "postgresql" and not writes:
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with told(engine.url), engine.connect().execution_options(**options) as connection:
        unlimited = takes_time and engine.dialect.name == "postgresql"
        with without_limit(connection) if unlimited else nullcontext(), connection.begin():
            if unlimited:
                postgres.take_time(connection)
            yield connection


def exclude_all(connection: Connection) -> None:
    """Let nobody else write until this transaction ends; in SQLite nobody can."""
    if connection.dialect.name == "postgresql":
        postgres.lock_all(connection)


@contextmanager
def disposed_on_error(engine: Engine) -> Iterator[None]:
    """Leave no connection open if the block fails."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Turn the driver's errors into ours.

    Raises:
        StoreUnavailable: if the database is busy or away.
        CollectorError: if it refuses for another reason.
    """
    try:
        yield
    except (
        DBAPIError,
        PoolTimeout,
        psycopg.Error,
        sqlite3.Error,
    ) as error:  # rows are streamed by the driver itself
        cause = error.orig if isinstance(error, DBAPIError) else error
        shown = url.render_as_string(hide_password=True)
        raise StoreUnavailable(f"the database {shown} cannot be used now: {_words(cause)}", _kind(cause)) from None
    except SQLAlchemyError as error:
        raise CollectorError(f"the database refused: {error}") from error


def _words(cause: BaseException | None) -> str:
    """What went wrong, for the operator; of PostgreSQL's words the first line, for its details may quote a row."""
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def _kind(cause: BaseException | None) -> str:
    """What went wrong, without a word of the data: the error's type, and the driver's code when it has one."""
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    return f"{type(cause).__name__} {code}" if code else type(cause).__name__
