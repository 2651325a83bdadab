"""What is staged, whichever database holds it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from metavox_collector.packing import Packing
from metavox_collector.store import postgres_staged, sqlite_staged
from metavox_collector.store.rows import StagedRow, rows_of, week_number, week_of
from metavox_collector.store.tables import Tables
from metavox_privacy.report import Report
from metavox_privacy.week import Week


class Staging(Protocol):
    """What each database does in its own way; a module for each. Weeks are numbers, like 202647."""

    def weeks(self, connection: Connection) -> list[int]:
        """The weeks of which something may be staged."""

    def add(self, connection: Connection, week: int, reports: Mapping[bytes, Sequence[StagedRow]]) -> int:
        """Insert the reports whose ids are not in the week; returns how many that were."""

    def buried(self, connection: Connection, tombstones: Sequence[bytes]) -> set[bytes]:
        """Those of the tombstones that are there."""

    def rows(self, connection: Connection, week: int, batch: int) -> Iterator[Sequence[StagedRow]]:
        """All rows of a week by report and position, about so many at a time."""

    def find(self, connection: Connection, report_id: bytes) -> list[int]:
        """The weeks in which a report of this name is staged."""

    def remove(self, connection: Connection, week: int, report_id: bytes) -> None:
        """Delete the report of this name from a week."""

    def count(self, connection: Connection, week: int) -> int:
        """How many reports of a week are staged."""

    def any_flagged(self, connection: Connection, week: int, flag: int) -> bool:
        """Whether a report of a week has a flag."""

    def is_free(self, connection: Connection, week: int) -> bool:
        """Whether nobody closes a week or writes it anew; nobody will until this transaction ends."""

    def destroy(self, connection: Connection, week: int) -> None:
        """Destroy all reports of a week."""

    def moving(self, connection: Connection) -> list[int]:
        """The weeks that are written anew in part."""

    def begin_to_move(self, connection: Connection, week: int) -> None:
        """Begin to write a week anew, if anything is staged of it.

        Raises:
            StoreUnavailable: if what was deleted from it would come along.
        """

    def move(self, connection: Connection, week: int) -> None:
        """Write the next piece of such a week anew; nothing if there is none."""


_STAGING: dict[str, Staging] = {"sqlite": sqlite_staged, "postgresql": postgres_staged}


def staging(connection: Connection) -> Staging:
    """How this database stages."""
    return _STAGING[connection.dialect.name]


def add(connection: Connection, packing: Packing, reports: Iterable[Report]) -> int:
    """Insert the reports whose ids are new in their week, of several of one name the first; returns how many."""
    by_week: dict[int, dict[bytes, list[StagedRow]]] = {}
    for report in reports:
        rows = rows_of(report, packing)
        by_week.setdefault(week_number(report.week), {}).setdefault(rows[0].report_id, rows)
    return sum(staging(connection).add(connection, week, by_week[week]) for week in sorted(by_week))


def weeks(connection: Connection) -> list[Week]:
    """The weeks of which something may be staged, oldest first."""
    return [week_of(number) for number in staging(connection).weeks(connection)]


def rows(connection: Connection, week: Week, batch: int) -> Iterator[list[StagedRow]]:
    """A week's rows by report and position, whole reports together, about so many at a time."""
    held: list[StagedRow] = []
    for some in staging(connection).rows(connection, week_number(week), batch):
        held += some
        start = _start_of_last(held)  # that report may go on in what follows
        if start:
            yield held[:start]
            held = held[start:]
    if held:
        yield held


def _start_of_last(rows: Sequence[StagedRow]) -> int:
    start, last = len(rows), rows[-1].report_id
    while start and rows[start - 1].report_id == last:
        start -= 1
    return start


def reports(rows: Iterable[Sequence[StagedRow]]) -> Iterator[list[StagedRow]]:
    """The rows of each report apart."""
    for some in rows:
        for _, mine in itertools.groupby(some, key=lambda row: row.report_id):
            yield list(mine)


def count(connection: Connection, week: Week) -> int:
    """How many reports of a week are staged."""
    mine, number = staging(connection), week_number(week)
    return mine.count(connection, number) if number in mine.weeks(connection) else 0


def is_empty(connection: Connection) -> bool:
    """Whether nothing at all is staged."""
    mine = staging(connection)
    return not any(mine.any_flagged(connection, week, -1) for week in mine.weeks(connection))


def destroy(connection: Connection, week: Week) -> None:
    """Destroy a week's reports."""
    staging(connection).destroy(connection, week_number(week))


def destroy_before(connection: Connection, tables: Tables, week: Week) -> int:
    """Destroy every earlier week's, and its tombstones; returns how many reports that were.

    But for a week that somebody closes this very moment: the close destroys it, or the next time comes.
    """
    mine, end = staging(connection), week_number(week)
    number = 0
    for earlier in [one for one in mine.weeks(connection) if one < end and mine.is_free(connection, one)]:
        number += mine.count(connection, earlier)
        mine.destroy(connection, earlier)
    connection.execute(delete(tables.deleted_report).where(tables.deleted_report.c.week < end))
    return number


def delete_one(connection: Connection, tables: Tables, report_id: str, until: Week) -> bool:
    """Delete a report and leave a tombstone, also if there was none; whether there was one.

    Args:
        connection: The connection.
        tables: The tables.
        report_id: Its name in hexadecimal digits.
        until: The last week that a late delivery may be of.
    """
    mine, name = staging(connection), bytes.fromhex(report_id)
    found = mine.find(connection, name)
    for week in found:
        mine.remove(connection, week, name)
    _bury(connection, tables, tombstone(report_id), found or [week_number(until)], due=bool(found))
    return bool(found)


def deleted_among(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    """Those of the ids that have a tombstone."""
    by_tombstone = {tombstone(report_id): report_id for report_id in ids}
    return frozenset(by_tombstone[name] for name in staging(connection).buried(connection, list(by_tombstone)))


def tombstone(report_id: str) -> bytes:
    """What is kept of a deleted report: it can be recognised by whoever has its name, and gives no name away."""
    return hashlib.sha256(f"deleted {report_id}".encode()).digest()


def week_to_rewrite(connection: Connection, tables: Tables) -> int | None:
    """The week of which the next piece is to be written anew, since copies of deleted rows may be in its files."""
    mine, graves = staging(connection), tables.deleted_report.c
    due = set(connection.scalars(select(graves.week).where(graves.due).distinct()))
    return next(iter([*mine.moving(connection), *sorted(due.intersection(mine.weeks(connection)))]), None)


def rewrite_a_piece(connection: Connection, tables: Tables, week: int) -> None:
    """Write some of a week anew; all of it is in the end, if this is asked for as long as it is to be."""
    mine, graves = staging(connection), tables.deleted_report
    if week not in mine.moving(connection):
        mine.begin_to_move(connection, week)
        # What is deleted from here on is due again.
        connection.execute(graves.update().where(graves.c.week == week).values(due=False))
    mine.move(connection, week)


def _bury(connection: Connection, tables: Tables, name: bytes, weeks: Sequence[int], *, due: bool) -> None:
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    rows = [{"tombstone": name, "week": week, "due": due} for week in weeks]
    connection.execute(insert(tables.deleted_report).on_conflict_do_nothing(), rows)
