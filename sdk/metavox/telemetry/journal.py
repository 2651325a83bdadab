"""The journal: anonymous counts by week and cell, and the ledger of the reports made of them. Nothing raw."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from metavox.telemetry.database import END_OF_CONSENT, PATIENCE, existing, run, transaction
from metavox.telemetry.home import Home
from metavox.telemetry.tally import CellTally, Tally
from metavox_privacy.anonymize import CellKey
from metavox_privacy.consent import Consent
from metavox_privacy.report import CellCounts, Counts
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

KEPT = timedelta(days=28)
"""How long after its end a week stays in the journal, and its report is tried."""
BETWEEN_TRIES = timedelta(hours=24)
"""How long every process of an installation waits after a try that did not settle a report."""
ONE_TRY = timedelta(seconds=6)
"""How long a claim holds: what sending may take, and some more."""
MOST_CELLS = 64
"""How many cells of a week are kept; the least used gives way. A report has room for four."""

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


Make = Callable[[Counts, bytes], bytes | None]
"""The bytes of a report, of a week's counts and the token; None when there is nothing to report."""


def tried_reports(path: Path) -> list[StoredReport]:
    """The reports that may be at a collector, under whatever consent; [] when there is no journal to read.

    A try can succeed without an answer that says so.
    """
    try:
        return [report for report in _all_reports(path) if report.tries]
    except (sqlite3.Error, OSError, TypeError, ValueError):
        return []


def weeks_kept(path: Path) -> dict[Week, str]:
    """Each week with its outcome, or "kept" while there is none; {} when there is no journal.

    For looking while contributions are off: nothing is counted, built, deleted or written.

    Raises:
        sqlite3.Error, OSError: the journal cannot be read.
    """
    return {report.week: report.outcome or "kept" for report in _all_reports(path)}


def withdraw(home: Home) -> list[StoredReport]:
    """After a no: delete all that could only have been sent under a yes, and the journal with it if that is all.

    Returns:
        The reports whose tokens stay: those that were tried.

    Raises:
        sqlite3.Error, OSError: the disk does not let it.
    """
    tried = tried_reports(home.journal_file)
    if not tried:
        home.delete_journal()
        return []
    with existing(home.journal_file, write=True) as sql:
        sql.execute("BEGIN IMMEDIATE")
        run(sql, END_OF_CONSENT)
    return tried


def forget(home: Home, weeks: Iterable[Week]) -> None:
    """Delete these weeks' tokens and all else of them, and the journal with them if that is all.

    Raises:
        sqlite3.Error, OSError: the disk does not let it.
    """
    with existing(home.journal_file, write=True) as sql:
        sql.execute("BEGIN IMMEDIATE")
        for week in weeks:
            sql.execute("DELETE FROM reports WHERE week = ?", (str(week),))
            sql.execute("DELETE FROM cells WHERE week = ?", (str(week),))
        left = sql.execute("SELECT count(*) FROM reports").fetchone()[0]
    if not left:
        home.delete_journal()


class Journal:
    """The journal of one consent; counts that were made under another one are deleted, never sent.

    Constructing it touches nothing. Methods raise ``sqlite3.Error`` or ``OSError`` when the disk does; a damaged
    file is set aside, and everything is off until the person says yes again.

    Args:
        path: The file; it and its folder are made, for the owner alone, by the first write.
        consent: The granted consent in force.
        schema: The list of what may be counted; rows outside it are not read.
        now: For the weeks that have become too old.
    """

    def __init__(self, path: Path, consent: Consent, schema: Schema, now: datetime) -> None:
        if not consent.granted:
            raise ValueError("there is no journal without a consent")
        self._path = path
        self._era = (
            str(consent.since),
            ",".join(sorted(consent.purposes)),
            consent.notice,
            schema.fingerprint,
        )
        self._schema = schema
        self._oldest = Week.of(now - KEPT)

    def add(self, tally: Tally, *, patience: float = PATIENCE) -> None:
        """Count requests, all in one transaction; a week whose report is built counts no more.

        Args:
            tally: What was counted.
            patience: Seconds to wait for other processes.
        """
        with self._transaction(durable=False, patience=patience) as sql:
            for week, cells in tally:
                if _is_open(sql, week):
                    for key, counts in cells.items():
                        _add(sql, week, key, counts)
                    _trim(sql, week)

    def reports(self) -> list[StoredReport]:
        """Every week that the journal knows of, the oldest first; [] when there is no journal."""
        if not os.path.exists(self._path):
            return []
        with self._transaction() as sql:
            return reports_in(sql)

    def counts(self, week: Week) -> Counts:
        """The counts of a week whose report is not built."""
        with self._transaction() as sql:
            return self._counts(sql, week)

    def claim(
        self, now: datetime, collector: str, make: Make, *, force: bool = False, beside: Collection[Week] = ()
    ) -> StoredReport | None:
        """Take the oldest report that is to be sent now, for this process alone, and fix its bytes.

        The bytes, the address and the try are on the disk before anything is sent: after a crash the same bytes
        go out again, under the same name and to the same collector, which counts them once.

        Args:
            now: Which weeks are over, what is due, and whether a day has passed since the last try.
            collector: The address it will be sent to; a report that went to another one stays where it is.
            make: Builds the bytes, once.
            force: Take what is not due yet too, and however short the last try is ago.
            beside: Weeks that are not wanted.

        Returns:
            The report with its body; None when there is nothing to send now.
        """
        if not os.path.exists(self._path):
            return None
        with self._transaction() as sql:
            waiting = [report for report in reports_in(sql) if report.outcome is None and now >= report.week.end]
            if not force and any(_is_recent(report.tried_at, now, BETWEEN_TRIES) for report in waiting):
                return None
            for report in waiting:
                if report.week in beside or not _is_for(report, collector, now):
                    continue
                if force or now >= report.due_at:
                    body = report.body or make(self._counts(sql, report.week), report.token)
                    if body is not None:
                        return _claimed(sql, report, body, collector, now)
        return None

    def note(self, week: Week, outcome: str | None) -> None:
        """Note what became of a try: "sent", finally "refused", or None when it is worth another one."""
        with existing(self._path, write=True) as sql:  # whatever consent is in force by now
            sql.execute(
                "UPDATE reports SET outcome = coalesce(outcome, ?), busy_until = NULL WHERE week = ?",
                (outcome, str(week)),
            )

    def _counts(self, sql: sqlite3.Connection, week: Week) -> Counts:
        cells = {}
        rows = sql.execute("SELECT cell, requests, buckets FROM cells WHERE week = ?", (str(week),))
        for cell, requests, buckets in rows.fetchall():
            key = self._key(cell)
            if key is not None and requests > 0:
                cells[key] = CellCounts(requests, self._histograms(buckets))
        return Counts(week, cells)

    def _key(self, cell: str) -> CellKey | None:
        """A stored cell, None unless the schema knows every word of it."""
        words = tuple(json.loads(cell))
        dimensions = self._schema.dimensions
        if len(words) != len(dimensions):
            return None
        known = all(word in d.vocabulary for word, d in zip(words, dimensions, strict=True))
        return words if known else None

    def _histograms(self, text: str) -> dict[str, tuple[int, ...]]:
        """What the schema knows of stored counts."""
        stored: Mapping[str, Mapping[str, int]] = json.loads(text)
        found = {}
        for metric in self._schema.metrics:
            units = [stored.get(metric.name, {}).get(str(bucket), 0) for bucket in range(metric.buckets)]
            if any(units) and min(units) >= 0:
                found[metric.name] = tuple(units)
        return found

    def _transaction(
        self, *, durable: bool = True, patience: float = PATIENCE
    ) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._path, self._era, str(self._oldest), durable=durable, patience=patience)


def _is_open(sql: sqlite3.Connection, week: Week) -> bool:
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


def _add(sql: sqlite3.Connection, week: Week, key: CellKey, counts: CellTally) -> None:
    where = (str(week), json.dumps(key))
    row = sql.execute("SELECT requests, buckets FROM cells WHERE week = ? AND cell = ?", where).fetchone()
    requests, stored = (0, {}) if row is None else (row[0], json.loads(row[1]))
    for name, buckets in counts.buckets.items():
        sums = stored.setdefault(name, {})
        for bucket, n in buckets.items():
            sums[str(bucket)] = sums.get(str(bucket), 0) + n
    sql.execute(
        "INSERT OR REPLACE INTO cells (week, cell, requests, buckets) VALUES (?, ?, ?, ?)",
        (*where, requests + counts.requests, json.dumps(stored, separators=(",", ":"))),
    )


def _trim(sql: sqlite3.Connection, week: Week) -> None:
    sql.execute(
        "DELETE FROM cells WHERE week = ? AND cell NOT IN "
        "(SELECT cell FROM cells WHERE week = ? ORDER BY requests DESC, cell LIMIT ?)",
        (str(week), str(week), MOST_CELLS),
    )


def _claimed(
    sql: sqlite3.Connection, report: StoredReport, body: bytes, collector: str, now: datetime
) -> StoredReport:
    sql.execute("DELETE FROM cells WHERE week = ?", (str(report.week),))  # they are in the body now
    sql.execute(
        "UPDATE reports SET body = ?, collector = ?, tries = tries + 1, tried_at = ?, busy_until = ? "
        "WHERE week = ?",
        (body, collector, _seconds(now), _seconds(now + ONE_TRY), str(report.week)),
    )
    return next(one for one in reports_in(sql) if one.week == report.week)


def _is_for(report: StoredReport, collector: str, now: datetime) -> bool:
    """Whether no other process is sending a report, and no other collector may have it."""
    busy = report.busy_until is not None and now < report.busy_until <= now + ONE_TRY  # else the clock was set back
    return not busy and report.collector in (None, collector)


def _is_recent(moment: datetime | None, now: datetime, span: timedelta) -> bool:
    return moment is not None and timedelta(0) <= now - moment < span


def _all_reports(path: Path) -> list[StoredReport]:
    if not os.path.exists(path):  # Path.exists raises where a folder on the way is closed to us
        return []
    with existing(path) as sql:
        return reports_in(sql)


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


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
