"""The journal's reports in SQL: what is due, what was tried, and what became of it."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from metavox_privacy.week import Week

BETWEEN_TRIES = timedelta(hours=24)
"""How long every process of an installation waits after a try that did not settle a report."""
ONE_TRY = timedelta(seconds=6)
"""How long a claim holds: what sending may take, and some more."""

_COLUMNS = "week, token, due_at, body, outcome, collector, tries, tried_at, busy_until"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A week's report, as far as it has come.

    Attributes:
        week: The week it reports.
        token: The secret that names it and can delete it at the collector.
        due_at: When it is to be sent, a random hour of the week after.
        body: The exact bytes to send, None while the week still counts, and after the end of its consent.
        outcome: "sent", "refused" or "withdrawn" when that is settled, else None.
        collector: The address it was sent to, or tried to; None before the first try. It goes to no other one.
        tries: How often it was sent, or tried to.
        tried_at: When last.
        busy_until: Until when a process may still be sending it.
    """

    week: Week
    token: bytes
    due_at: datetime
    body: bytes | None = None
    outcome: str | None = None
    collector: str | None = None
    tries: int = 0
    tried_at: datetime | None = None
    busy_until: datetime | None = None


def open_week(sql: sqlite3.Connection, week: Week) -> bool:
    """Whether a week still counts; the first request of one makes its report.

    The token exists from then on, so that a preview and the report have the same name.
    """
    due = week.end + timedelta(hours=secrets.randbelow(7 * 24))
    sql.execute(
        "INSERT OR IGNORE INTO reports (week, token, due_at) VALUES (?, ?, ?)",
        (str(week), secrets.token_bytes(32), _seconds(due)),
    )
    is_open = "SELECT body IS NULL AND outcome IS NULL FROM reports WHERE week = ?"
    return bool(sql.execute(is_open, (str(week),)).fetchone()[0])


def reports_in(sql: sqlite3.Connection) -> list[StoredReport]:
    """Every report of a journal that is open, the oldest first."""
    rows = sql.execute(f"SELECT {_COLUMNS} FROM reports ORDER BY week").fetchall()  # noqa: S608  # our names
    return [
        StoredReport(
            Week.parse(week),
            bytes(token),
            _moment(due_at),
            body=None if body is None else bytes(body),
            outcome=outcome,
            collector=collector,
            tries=tries,
            tried_at=None if tried_at is None else _moment(tried_at),
            busy_until=None if busy_until is None else _moment(busy_until),
        )
        for week, token, due_at, body, outcome, collector, tries, tried_at, busy_until in rows
    ]


def candidates(
    sql: sqlite3.Connection, now: datetime, collector: str, *, force: bool, beside: Collection[Week] = ()
) -> list[StoredReport]:
    """The reports that this process may send to a collector now, the oldest first.

    Args:
        sql: The journal.
        now: Which weeks are over, what is due, and whether a day has passed since the last try.
        collector: A report that went to another one stays where it is.
        force: What is not due yet too, and however short the last try is ago.
        beside: Weeks that are not wanted.
    """
    waiting = [report for report in reports_in(sql) if report.outcome is None and now >= report.week.end]
    if not force and any(_was_tried(report, now) for report in waiting):
        return []
    return [
        report
        for report in waiting
        if (force or now >= report.due_at)
        and report.week not in beside
        and report.collector in (None, collector)
        and not _is_busy(report, now)
    ]


def begin_try(sql: sqlite3.Connection, week: Week, body: bytes, collector: str, now: datetime) -> StoredReport:
    """Fix a report's bytes and address and count the try; the week's counts are in the bytes now."""
    sql.execute("DELETE FROM cells WHERE week = ?", (str(week),))
    sql.execute(
        "UPDATE reports SET body = ?, collector = ?, tries = tries + 1, tried_at = ?, busy_until = ? "
        "WHERE week = ?",
        (body, collector, _seconds(now), _seconds(now + ONE_TRY), str(week)),
    )
    return next(report for report in reports_in(sql) if report.week == week)


def end_try(sql: sqlite3.Connection, week: Week, outcome: str | None) -> None:
    """Note what became of a try; an outcome that was there before, "withdrawn" above all, stays."""
    sql.execute(
        "UPDATE reports SET outcome = coalesce(outcome, ?), busy_until = NULL WHERE week = ?",
        (outcome, str(week)),
    )


def _was_tried(report: StoredReport, now: datetime) -> bool:
    """Within the last day; a try of the future was made by a clock that has been set back since."""
    return report.tried_at is not None and timedelta(0) <= now - report.tried_at < BETWEEN_TRIES


def _is_busy(report: StoredReport, now: datetime) -> bool:
    """Whether another process may be sending it."""
    return report.busy_until is not None and now < report.busy_until <= now + ONE_TRY


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
