"""Reports -> staged rows, and a deleted report out of them, committed before anybody is told so.

Group commit: the first of several requests that wait for the disk commits for all of them. One
``fsync`` then serves many requests, and a request is answered only after the transaction that holds it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metavox_collector.store import Database
from metavox_privacy.report import Report, report_id_of
from metavox_privacy.week import Week
from metavox_privacy.wire import Rejected

CLOSED = "the week is closed"
DELETED = "the report was deleted"

_REMEMBERED = 65_536
"""How many names that somebody asked to delete are held in memory; some 10 MB."""


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
        self._unwanted: OrderedDict[str, None] = OrderedDict()

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

    def delete(self, token: bytes) -> bool:
        """Delete the report that a secret token names; whether it was staged.

        A delivery of the same report that is still on its way is refused from here on: in this process by what it
        remembers, whether the report was staged or not; in every process, if it was, by what the database keeps
        until the week is closed.

        Raises:
            StoreUnavailable: if the database is busy or away; it may be deleted or not, and can be asked for again.
        """
        report_id = report_id_of(token)
        with self._queue:
            self._unwanted[report_id] = None
            while len(self._unwanted) > _REMEMBERED:
                self._unwanted.popitem(last=False)
        with self._commit:  # a group that is being committed may hold it
            with self._database.read() as transaction:  # so that who guesses names keeps no writer waiting
                if not transaction.is_staged(report_id):
                    return False
            with self._database.write() as transaction:
                return transaction.delete_report(report_id)

    def rewrite_a_piece(self) -> bool:
        """Remove some of the copies that deleted rows may have left in the files; whether there is more to do.

        Raises:
            StoreUnavailable: if the database is busy or away.
        """
        return self._database.rewrite_a_piece()

    def scrub(self) -> bool:
        """Empty the write-ahead log of what was deleted; whether that could be done."""
        return self._database.scrub()

    def expire(self, now: datetime) -> int:
        """Destroy what no close came for in time; returns how many reports that were.

        A report is kept for as long as its week is accepted and not a day longer, whatever the operator does.

        Raises:
            StoreUnavailable: if the database is busy or away.
        """
        oldest = Week.of(now - self._accepted_for)
        with self._database.write() as transaction:
            return transaction.destroy_staged_before(oldest)

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
            self._store(group)
        except Exception as error:  # whatever it was, every request of the group must be told
            for ticket in group:
                ticket.error = error
        for ticket in group:
            ticket.done = True

    def _store(self, group: Sequence[_Ticket]) -> None:
        ids = {report.report_id for ticket in group for report in ticket.reports}
        with self._queue:
            unwanted = ids & self._unwanted.keys()
        with self._database.write() as transaction:
            closed, deleted = transaction.closed_weeks(), unwanted | transaction.deleted_among(ids)

            def reason(report: Report) -> str | None:
                return CLOSED if report.week in closed else DELETED if report.report_id in deleted else None

            for ticket in group:
                ticket.rejected = [Rejected(why, len(r.cells)) for r in ticket.reports if (why := reason(r))]
            transaction.add_reports([r for ticket in group for r in ticket.reports if reason(r) is None])
