"""Reports -> staged rows, committed before anybody is told so.

Group commit: the first of several requests that wait for the disk commits for all of them. One
``fsync`` then serves many requests, and a request is answered only after the transaction that holds it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metavox_collector.store import Database
from metavox_privacy.report import Report
from metavox_privacy.week import Week
from metavox_privacy.wire import Rejected

_log = logging.getLogger(__name__)
CLOSED = "the week is closed"


def refusal(report: Report, *, now: datetime, accepted_for: timedelta, sandbox: bool) -> str | None:
    """Why a report is not taken, whatever the database holds; None when it may be."""
    if report.synthetic and not sandbox:
        return "synthetic reports go to a sandbox"
    if now < report.week.end:
        return "the week is not over"
    if now >= report.week.end + accepted_for:
        return "the week is too old"
    return None


@dataclass
class _Ticket:
    """One request's reports on their way into a transaction."""

    reports: Sequence[Report]
    done: bool = False
    rejected: list[Rejected] = field(default_factory=list)
    error: Exception | None = None


class Stager:
    """Takes reports into the database, many requests at a time."""

    def __init__(self, database: Database, accepted_for: timedelta) -> None:
        self._database = database
        self._accepted_for = accepted_for
        self._waiting: list[_Ticket] = []
        self._queue = threading.Lock()
        self._commit = threading.Lock()

    def stage(self, decoded: Sequence[Report | Rejected], now: datetime) -> list[Rejected]:
        """Commit the reports that may be taken; returns those that were not, each with its reason.

        Raises:
            StoreUnavailable: if the database is busy or away; nothing was stored then.
        """
        rejected, reports = [], []
        for item in decoded:
            outcome = item if isinstance(item, Rejected) else self._judge(item, now)
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            else:
                reports.append(outcome)
        return [*rejected, *self._submit(reports)] if reports else rejected

    def expire(self, now: datetime) -> int:
        """Destroy what no close came for in time; returns how many reports that were.

        A report is kept for as long as its week is accepted and not a day longer, whatever the operator does.

        Raises:
            StoreUnavailable: if the database is busy or away.
        """
        oldest = Week.of(now - self._accepted_for)
        with self._database.write() as transaction:
            destroyed = transaction.destroy_staged_before(oldest)
        # Always: a close that died before it could do so has left its reports in the log.
        if not self._database.scrub():
            _log.warning("the write-ahead log could not be emptied; the next try is in an hour")
        return destroyed

    def _judge(self, report: Report, now: datetime) -> Report | Rejected:
        reason = refusal(report, now=now, accepted_for=self._accepted_for, sandbox=self._database.sandbox)
        return report if reason is None else Rejected(reason, len(report.cells))

    def _submit(self, reports: Sequence[Report]) -> list[Rejected]:
        ticket = _Ticket(reports)
        with self._queue:
            self._waiting.append(ticket)
        with self._commit:
            if not ticket.done:
                self._commit_waiting()
        if ticket.error is not None:
            raise ticket.error
        return ticket.rejected

    def _commit_waiting(self) -> None:
        with self._queue:
            group, self._waiting = self._waiting, []
        try:
            _store(self._database, group)
        except Exception as error:  # whatever it was, every request of the group must be told
            for ticket in group:
                ticket.error = error
        for ticket in group:
            ticket.done = True


def _store(database: Database, group: Sequence[_Ticket]) -> None:
    with database.write() as transaction:
        closed = transaction.closed_weeks()
        for ticket in group:
            ticket.rejected = [Rejected(CLOSED, len(r.cells)) for r in ticket.reports if r.week in closed]
        transaction.add_reports([r for ticket in group for r in ticket.reports if r.week not in closed])
