"""The journal: anonymous counts by week and cell, and the ledger of the reports made of them. Nothing raw."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal import cells, ledger
from metavox.telemetry.journal.database import END_OF_CONSENT, PATIENCE, OtherLayout, existing, run, transaction
from metavox.telemetry.journal.ledger import StoredReport as StoredReport
from metavox.telemetry.journal.ledger import reports_in as reports_in
from metavox.telemetry.journal.tally import Tally
from metavox_privacy.consent import Consent
from metavox_privacy.report import Counts
from metavox_privacy.retention import KEPT_HERE
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

KEPT = KEPT_HERE
"""How long after its end a week stays in the journal, and its report is tried."""

Make = Callable[[Counts, bytes], bytes | None]
"""The bytes of a report, of a week's counts and the token; None when there is nothing to report."""


def tried_reports(path: Path) -> list[StoredReport]:
    """The reports that may be at a collector, under whatever consent; [] when there is no journal to read.

    A try can succeed without an answer that says so.
    """
    try:
        return _tried(path)
    except (sqlite3.Error, OSError, TypeError, ValueError):
        return []


def withdraw(home: Home) -> list[StoredReport]:
    """After a no: delete all that could only have been sent under a yes, and the journal with it if that is all.

    Returns:
        The reports whose tokens stay: those that were tried.

    Raises:
        sqlite3.Error, OSError: the disk does not let it.
    """
    try:
        tried = _tried(home.journal_file)
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.DatabaseError, OtherLayout):
            raise  # another process has it, perhaps: its tokens must not be lost
        tried = []
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
        now: For the weeks that have become too old, and those that are still to come.
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
        self._oldest, self._latest = Week.of(now - KEPT), Week.of(now)

    def add(self, tally: Tally, *, patience: float = PATIENCE) -> None:
        """Count requests, all in one transaction; a week whose report is built counts no more.

        Nor does one that has not begun, or is kept no more: another clock than this machine's was read.

        Args:
            tally: What was counted.
            patience: Seconds to wait for other processes, and as many for this one's other threads.
        """
        with self._transaction(durable=False, patience=patience) as sql:
            for week, counted in tally:
                if self._oldest <= week <= self._latest and ledger.open_week(sql, week):
                    cells.add(sql, week, counted)

    def reports(self) -> list[StoredReport]:
        """Every week that the journal knows of, the oldest first; [] when there is no journal."""
        if not os.path.exists(self._path):
            return []
        with self._transaction() as sql:
            return reports_in(sql)

    def counts(self, week: Week) -> Counts:
        """The counts of a week whose report is not built."""
        with self._transaction() as sql:
            return cells.read(sql, week, self._schema)

    def is_due(self, now: datetime, collector: str) -> bool:
        """Whether a claim without force would find something, or nothing but other processes' work."""
        if not os.path.exists(self._path):
            return False
        with self._transaction() as sql:
            return bool(ledger.candidates(sql, now, collector, force=False))

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
            for report in ledger.candidates(sql, now, collector, force=force, beside=beside):
                body = report.body or make(cells.read(sql, report.week, self._schema), report.token)
                if body is not None:
                    return ledger.begin_try(sql, report.week, body, collector, now)
        return None

    def note(self, week: Week, outcome: str | None) -> None:
        """Note what became of a try: "sent", finally "refused", or None when it is worth another one."""
        with existing(self._path, write=True) as sql:  # whatever consent is in force by now
            ledger.end_try(sql, week, outcome)

    def _transaction(
        self, *, durable: bool = True, patience: float = PATIENCE
    ) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._path, self._era, str(self._oldest), durable=durable, patience=patience)


def _tried(path: Path) -> list[StoredReport]:
    """The reports that were tried; written to where a killed process left a transaction to be undone."""
    if not os.path.exists(path):
        return []
    with existing(path, write=True) as sql:
        return [report for report in ledger.reports_in(sql) if report.tries]


def _all_reports(path: Path) -> list[StoredReport]:
    if not os.path.exists(path):  # Path.exists raises where a folder on the way is closed to us
        return []
    with existing(path) as sql:
        return reports_in(sql)
