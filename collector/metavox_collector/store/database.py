"""Opening the database, and transactions on it.

A database is born for production or as a sandbox and stays what it is: only a sandbox takes synthetic
reports and a pretended clock, and all that is released from it says so. What a year's releases may cost is
written down at birth too, and is never raised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.exc import SQLAlchemyError

from metavox_collector.errors import BeingClosed, NotAllowed, StoreUnavailable
from metavox_collector.packing import Packing
from metavox_collector.store import birth, migrations, postgres, postgres_staged, sqlite, staged
from metavox_collector.store.driver import ask
from metavox_collector.store.engine import connected, disposed_on_error, exclude_all, open_engine, told
from metavox_collector.store.rows import week_number
from metavox_collector.store.tables import Tables, tables_of
from metavox_collector.store.transaction import Transaction
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week


class Database:
    """A collector's database, open.

    Attributes:
        sandbox: Whether it was born as a sandbox.
        yearly_cap: Most that an ISO year's releases may cost, in nano-ρ, as it was born with.
        schema: The declaration under which reports are staged.
        packing: How their cells are packed.
        dialect: ``"sqlite"`` or ``"postgresql"``.
    """

    def __init__(self, engine: Engine, tables: Tables, schema: Schema, facts: Row[Any]) -> None:
        self.sandbox = bool(facts.sandbox)
        self.yearly_cap = int(facts.yearly_cap)
        self.schema = schema
        self.packing = Packing(schema)
        self.dialect = engine.dialect.name
        self._engine = engine
        self._tables = tables

    @classmethod
    def create(
        cls, url: str, schema: Schema, *, sandbox: bool, yearly_cap: int, busy_timeout: float = 5
    ) -> Database:
        """Open a database, making it when it is not there yet.

        Raises:
            WrongDatabase: if it is of the other kind, of another schema with reports staged, or no database.
            NotAllowed: if it was born with a lower yearly cap.
            StoreUnavailable: if it is busy or cannot be reached.
        """
        engine = open_engine(url, busy_timeout)
        tables = tables_of(engine.dialect.name)
        if engine.dialect.name == "sqlite":
            sqlite.make_private(engine.url)
        with disposed_on_error(engine):
            with connected(engine, writes=True, takes_time=True) as connection:
                exclude_all(connection)
                facts = birth.born(connection, tables, schema, sandbox=sandbox, yearly_cap=yearly_cap)
                birth.adopt(connection, tables, schema, facts)
            database = cls(engine, tables, schema, facts)
            database.require_cap(yearly_cap)
        return database

    @classmethod
    def existing(cls, url: str, schema: Schema, *, busy_timeout: float = 5) -> Database:
        """Open a database that must be there already, of either kind.

        Raises:
            WrongDatabase: if there is none, or it is of another schema with reports staged.
            StoreUnavailable: if it is busy or cannot be reached.
        """
        engine = open_engine(url, busy_timeout)
        tables = tables_of(engine.dialect.name)
        birth.require_file(engine)
        with disposed_on_error(engine):
            with connected(engine, writes=False) as connection:
                birth.require_there(connection, tables)
                migrations.require_current(connection)
                facts = connection.execute(select(tables.collector)).one()
            if facts.schema_fingerprint != schema.fingerprint:
                with connected(engine, writes=True, takes_time=True) as connection:
                    exclude_all(connection)
                    birth.adopt(connection, tables, schema, facts)
        return cls(engine, tables, schema, facts)

    @classmethod
    def upgrade(cls, url: str, *, busy_timeout: float = 5) -> str | None:
        """Bring a database that is there to this software's revision; returns the one that it had.

        Raises:
            WrongDatabase: if there is none, or a later version of the software has upgraded it.
            StoreUnavailable: if it is busy or cannot be reached.
        """
        engine = open_engine(url, busy_timeout)
        birth.require_file(engine)
        with disposed_on_error(engine), connected(engine, writes=True, takes_time=True) as connection:
            exclude_all(connection)
            birth.require_there(connection, tables_of(engine.dialect.name))
            before = migrations.revision(connection)
            if before in migrations.known():
                migrations.upgrade(connection)
            migrations.require_current(connection)
        engine.dispose()
        return before

    def require_cap(self, yearly_cap: int) -> None:
        """Refuse a yearly cap above the one that the database was born with; raises NotAllowed."""
        if yearly_cap > self.yearly_cap:
            raise NotAllowed(
                f"this database was made with a yearly cap of {self.yearly_cap} nano-rho, which can be lowered "
                f"and never raised; set METAVOX_COLLECTOR_YEARLY_CAP_NANO_RHO to that or less, not {yearly_cap}"
            )

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the database and changes nothing."""
        with connected(self._engine, writes=False) as connection:
            yield Transaction(connection, self._tables, self.packing)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that excludes every other writer; any exception undoes all of it.

        Raises:
            StoreUnavailable: if the database is busy or away, or software with another schema has adopted it.
        """
        with connected(self._engine, writes=True, takes_time=True) as connection:
            exclude_all(connection)
            yield self._unless_adopted(connection)

    @contextmanager
    def staging(self, weeks: Collection[Week]) -> Iterator[Transaction]:
        """A transaction for staging reports of these weeks; on PostgreSQL many at a time.

        Raises:
            BeingClosed: if somebody closes one of the weeks; without those it can be tried again at once.
            StoreUnavailable: as for :meth:`write`.
        """
        with connected(self._engine, writes=True) as connection:
            if self.dialect == "postgresql":
                closing = postgres.lock_for_staging(connection, [week_number(week) for week in weeks])
                if closing:
                    raise BeingClosed(closing)
            yield self._unless_adopted(connection)

    @contextmanager
    def deleting(self, *, takes_time: bool = False) -> Iterator[Transaction]:
        """A transaction for deleting a report: it waits for whoever stages, and keeps the next one waiting.

        Args:
            takes_time: Whether more than a report is deleted, and no sender waits for the answer.

        Raises:
            StoreUnavailable: as for :meth:`write`.
        """
        with connected(self._engine, writes=True, takes_time=takes_time) as connection:
            if self.dialect == "postgresql":
                postgres.lock_for_deleting(connection)
            yield self._unless_adopted(connection)

    @contextmanager
    def closing(self, *weeks: Week) -> Iterator[Transaction]:
        """A transaction for closing weeks together, of which there is one at a time.

        On PostgreSQL reports of other weeks are staged meanwhile; SQLite knows one writer only.

        Raises:
            StoreUnavailable: as for :meth:`write`, and if another close is under way for longer than the busy
                timeout.
        """
        with ExitStack() as stack:
            with _told_of_another_close():
                connection = stack.enter_context(connected(self._engine, writes=True, takes_time=True))
                if self.dialect == "postgresql":
                    postgres.lock_for_closing(connection, [*map(week_number, weeks)])
            yield self._unless_adopted(connection)

    def keep_weeks(self, oldest: Week, newest: Week) -> int:
        """Destroy what is staged of weeks before the oldest, and have room for those up to the newest.

        Returns:
            How many reports were destroyed.

        Raises:
            StoreUnavailable: as for :meth:`write`.
        """
        with self.deleting(takes_time=True) as transaction:
            destroyed = transaction.destroy_staged_before(oldest)
            if self.dialect == "postgresql":
                postgres_staged.make_all(transaction.connection, week_number(oldest), week_number(newest))
        return destroyed

    def rewrite_a_piece(self) -> bool:
        """Write some of what is staged anew, if rows were deleted among it; whether there is more to do.

        Raises:
            StoreUnavailable: if the database is busy or away.
        """
        with self.read() as transaction:  # so that who has nothing to do keeps no writer waiting
            week = staged.week_to_rewrite(transaction.connection, self._tables)
        if week is None:
            return False
        with connected(self._engine, writes=True, takes_time=True) as connection:
            if self.dialect == "postgresql":
                postgres.lock_week(connection, week)
            staged.rewrite_a_piece(connection, self._tables, week)
            return staged.week_to_rewrite(connection, self._tables) is not None

    def _unless_adopted(self, connection: Connection) -> Transaction:
        if ask(connection, "SELECT schema_fingerprint FROM collector") != [(self.schema.fingerprint,)]:
            raise StoreUnavailable(_ADOPTED, "another schema")
        return Transaction(connection, self._tables, self.packing)

    def scrub(self) -> bool:
        """Empty SQLite's write-ahead log, so that what was deleted is not left in it; whether that could be done.

        A reader keeps it from being emptied, and so do a writer and a full disk. On PostgreSQL there is nothing
        done here: rows that were deleted lie in its files until VACUUM, and in its own log until that is recycled.
        """
        if self._engine.dialect.name != "sqlite":
            return True
        try:
            return sqlite.empty_log(self._engine)
        except (SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error):
            return False  # not an error of its own: what was committed before is done all the same

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether it is this process's turn to keep house: no other one has it until the block ends.

        Raises:
            StoreUnavailable: if the database is away.
        """
        turn = postgres.turn(self._engine) if self.dialect == "postgresql" else sqlite.turn(self._engine.url)
        with told(self._engine.url), turn as is_mine:
            yield is_mine

    def dispose(self) -> None:
        """Close every connection."""
        self._engine.dispose()


_ADOPTED = (
    "software with another schema has adopted the database since this one opened it; "
    "end this one and run that version alone"
)


@contextmanager
def _told_of_another_close() -> Iterator[None]:
    try:
        yield
    except LockNotAvailable:  # PostgreSQL's
        raise StoreUnavailable(_ANOTHER_CLOSE, "a close") from None
    except StoreUnavailable as error:
        if "database is locked" not in str(error):  # SQLite's, which has one lock for everybody
            raise
        raise StoreUnavailable(_ANOTHER_CLOSE, "a close") from None


_ANOTHER_CLOSE = "another close is under way; nothing was done, try again later"
