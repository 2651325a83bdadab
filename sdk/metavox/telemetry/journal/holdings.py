"""All that the journal holds, as it is and under whatever consent. For looking: nothing is written or deleted."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metavox.telemetry.journal import cells
from metavox.telemetry.journal.database import existing
from metavox.telemetry.journal.journal import KEPT
from metavox.telemetry.journal.ledger import StoredReport, reports_in
from metavox_privacy.consent import Consent
from metavox_privacy.report import Counts
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week


@dataclass(frozen=True, slots=True)
class HeldCell:
    """The counts of one combination in one week.

    Attributes:
        words: The combination, in the order of the list's fields.
        requests: How many requests.
        buckets: How many of them in each bucket that has any, by metric name.
    """

    words: tuple[str, ...]
    requests: int
    buckets: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class HeldWeek:
    """One week.

    Attributes:
        report: Its report, as far as that has come.
        cells: Its counts, the most used combination first; none once the report is built.
    """

    report: StoredReport
    cells: tuple[HeldCell, ...]


@dataclass(frozen=True, slots=True)
class Holdings:
    """The journal.

    Attributes:
        since: The yes under which it counts, as it is stored; None when it is empty or was withdrawn.
        weeks: The oldest first.
    """

    since: str | None = None
    weeks: tuple[HeldWeek, ...] = ()

    def is_of(self, since: datetime | None) -> bool:
        """Whether it counts under the yes of this moment; else its counts are deleted before anything is added."""
        return self.since is not None and self.since == str(since)


def holdings(path: Path) -> Holdings:
    """What a journal holds; nothing when there is none.

    Raises:
        sqlite3.Error, OSError: the journal cannot be read.
    """
    if not os.path.exists(path):  # Path.exists raises where a folder on the way is closed to us
        return Holdings()
    try:
        with existing(path) as sql:
            return _holdings(sql)
    except (TypeError, ValueError, KeyError, AttributeError) as error:  # what we never wrote
        raise sqlite3.DatabaseError("it holds what MetaVox does not write") from error


@dataclass(frozen=True, slots=True)
class View:
    """What the journal holds of one consent, read at one moment; in a journal's place for who only looks."""

    _weeks: Mapping[Week, tuple[StoredReport, Counts]]

    def reports(self) -> list[StoredReport]:
        """Every week, the oldest first."""
        return [report for report, _ in self._weeks.values()]

    def counts(self, week: Week) -> Counts:
        """The counts of a week whose report is not built."""
        return self._weeks[week][1]


def view(path: Path, consent: Consent, schema: Schema, now: datetime) -> View:
    """What a consent's journal holds; nothing where it counts under another consent, or there is none.

    Args:
        path: The file.
        consent: The consent in force.
        schema: The list of what may be counted.
        now: For the weeks that have become too old, which the next counted request deletes.

    Raises:
        sqlite3.Error, OSError: the journal cannot be read.
    """
    if not holdings(path).is_of(consent.since):
        return View({})
    with existing(path) as sql:
        sql.execute("BEGIN")
        kept = (one for one in reports_in(sql) if one.week >= Week.of(now - KEPT))
        return View({one.week: (one, cells.read(sql, one.week, schema)) for one in kept})


def _holdings(sql: sqlite3.Connection) -> Holdings:
    sql.execute("BEGIN")  # one moment for all of it
    consent = sql.execute("SELECT since FROM consent").fetchone()
    weeks = tuple(HeldWeek(report, _cells(sql, str(report.week))) for report in reports_in(sql))
    return Holdings(None if consent is None else str(consent[0]), weeks)


def _cells(sql: sqlite3.Connection, week: str) -> tuple[HeldCell, ...]:
    rows = sql.execute(
        "SELECT cell, requests, buckets FROM cells WHERE week = ? ORDER BY requests DESC, cell", (week,)
    ).fetchall()
    return tuple(HeldCell(tuple(json.loads(cell)), requests, _buckets(buckets)) for cell, requests, buckets in rows)


def _buckets(text: str) -> dict[str, dict[int, int]]:
    return {name: {int(at): n for at, n in sums.items()} for name, sums in json.loads(text).items()}
