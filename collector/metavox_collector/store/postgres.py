"""What PostgreSQL alone needs: how it is reached, how long it may keep us waiting, and locks that are agreed upon.

Advisory locks, so that who stages shares and who closes or deletes does not. Each is held until its transaction
ends. In what order they are taken: the ledger's, the deletions', the weeks' by number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

from metavox_collector.store.driver import ask
from metavox_collector.store.patience import PatientConnection

_NAMESPACE = 0x6D657461
"""The first of the two numbers that name each lock; the second is one of these, or a week's."""

_LEDGER, _DELETIONS, _PARTITIONS, _TURN = 1, 2, 3, 4


STATEMENT_S = 15.0
"""How long a statement for which senders wait may take beside its wait for locks, in seconds; most take 10 ms."""

_GRACE_S = 2.0
"""How much later than the server we ourselves give up, in seconds; then the server does nothing at all."""


def with_driver(url: URL) -> URL:
    """The same URL for psycopg 3, if it names no driver of its own."""
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def engine_options(url: URL, busy_timeout: float) -> dict[str, Any]:
    """What an engine is made with.

    Args:
        url: Where parameters of libpq's may stand, which come first.
        busy_timeout: How long to wait for a connection, in seconds.
    """
    ours = {"connect_timeout": max(int(busy_timeout), 2), **_NOTICED}
    return {
        "isolation_level": "READ COMMITTED",  # what follows a lock must see all that was committed before it
        "pool_pre_ping": True,  # a connection that the server's restart has cut is replaced and not told
        "pool_timeout": busy_timeout,
        "connect_args": {name: value for name, value in ours.items() if name not in url.query},
    }


_NOTICED = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""So that a server whose machine or network is gone is noticed within half a minute, and not after hours."""


def prepare(engine: Engine, busy_timeout: float) -> None:
    """Have every connection wait no longer than is said, and answer a commit when it is on the disk.

    Args:
        engine: Whose connections.
        busy_timeout: In seconds.
    """
    lock = max(int(busy_timeout * 1000), 1)  # to PostgreSQL 0 is for ever
    statement = busy_timeout + STATEMENT_S

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, args: Any, named: Any) -> PatientConnection:
        connection = PatientConnection.connect(*args, **named)
        connection.patience = statement + _GRACE_S
        return connection

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {lock}")
            cursor.execute(f"SET statement_timeout = {int(statement * 1000)}")
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone() == ("off",):
                cursor.execute("SET synchronous_commit = on")
        connection.commit()


def take_time(connection: Connection) -> None:
    """Have the server end nothing of this transaction for the time it takes, whatever its defaults are."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")


def lock_all(connection: Connection) -> None:
    """Exclude everybody who would change anything."""
    _lock(connection, _LEDGER)
    _lock(connection, _DELETIONS)


def lock_for_staging(connection: Connection, weeks: Collection[int]) -> list[int]:
    """Share the lock on deletions and those of some weeks; returns the weeks that somebody closes."""
    shares = "pg_advisory_xact_lock_shared(%s, %s), " + "pg_try_advisory_xact_lock_shared(%s, %s), " * len(weeks)
    numbers = [number for lock in (_DELETIONS, *weeks) for number in (_NAMESPACE, lock)]
    ((_, *shared),) = ask(connection, f"SELECT {shares.rstrip(', ')}", numbers)
    return [week for week, is_shared in zip(weeks, shared, strict=True) if not is_shared]


def share_week(connection: Connection, week: int) -> bool:
    """Share a week's lock without waiting; False if somebody closes it."""
    query = "SELECT pg_try_advisory_xact_lock_shared(%s, %s)"
    return ask(connection, query, (_NAMESPACE, week)) == [(True,)]


def lock_for_deleting(connection: Connection) -> None:
    """Exclude whoever stages."""
    _lock(connection, _DELETIONS)


def lock_for_closing(connection: Connection, weeks: Sequence[int]) -> None:
    """Exclude who closes any week, and who stages or deletes reports of these."""
    _lock(connection, _LEDGER)
    for week in weeks:
        _lock(connection, week)


def try_week(connection: Connection, week: int) -> bool:
    """Exclude who stages or deletes reports of a week, without waiting; False if somebody uses it."""
    return ask(connection, "SELECT pg_try_advisory_xact_lock(%s, %s)", (_NAMESPACE, week)) == [(True,)]


def lock_week(connection: Connection, week: int) -> None:
    """Exclude who stages or deletes reports of a week."""
    _lock(connection, week)


def lock_partitions(connection: Connection) -> None:
    """Exclude whoever makes a partition."""
    _lock(connection, _PARTITIONS)


@contextmanager
def turn(engine: Engine) -> Iterator[bool]:
    """Whether no other connection has the turn; this one then has it until the block ends."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        mine = (_NAMESPACE, _TURN)
        is_mine = bool(connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s, %s)", mine).scalar_one())
        try:
            yield is_mine
        finally:
            if is_mine:  # the pool keeps the connection, and with it the lock
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s, %s)", mine)


def _lock(connection: Connection, number: int, *, shared: bool = False) -> None:
    query = f"SELECT pg_advisory_xact_lock{'_shared' * shared}(%s, %s)"
    ask(connection, query, (_NAMESPACE, number))
