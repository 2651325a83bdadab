"""Journal -> weekly report -> collector: which weeks are due, their exact bytes, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal, forget, tried_reports
from metavox.telemetry.journal.ledger import ONE_TRY, StoredReport
from metavox.telemetry.upload import uploader
from metavox.telemetry.upload.uploader import Address, Deleted, Deletion, Gone, Outcome, Refused, Sent, Unreachable
from metavox_privacy.anonymize import anonymize
from metavox_privacy.consent import Consent
from metavox_privacy.report import Counts, count, make_report
from metavox_privacy.schema import Schema
from metavox_privacy.span import Span
from metavox_privacy.week import Week
from metavox_privacy.wire import encode

_LONGEST_PAUSE = (
    ONE_TRY.total_seconds() - uploader.TIMEOUT - 1
)  # between claim and sending; claims are whole seconds

Send = Callable[[bytes, Address], Outcome]
Delete = Callable[[bytes, Address], Deletion]


@dataclass(frozen=True, slots=True)
class Preview:
    """A report as it stands.

    Attributes:
        report: Its week, token and outcome.
        body: The bytes that would be sent, or were.
        complete: Whether the week is over, so that nothing will be added.
    """

    report: StoredReport
    body: bytes
    complete: bool


class Counted(Protocol):
    """The weeks and counts of one consent: a journal, or what was read of one."""

    def reports(self) -> list[StoredReport]:
        """Every week, the oldest first."""

    def counts(self, week: Week) -> Counts:
        """The counts of a week whose report is not built."""


def preview(journal: Counted, consent: Consent, schema: Schema, now: datetime) -> list[Preview]:
    """Every week in the journal with its exact bytes, the oldest first; builds and sends nothing."""
    shown = []
    for report in journal.reports():
        body = report.body or _body(journal.counts(report.week), report.token, consent, schema)
        if body is not None:
            shown.append(Preview(report, body, now >= report.week.end))
    return shown


def upload(
    journal: Journal,
    consent: Consent,
    schema: Schema,
    now: datetime,
    url: str,
    *,
    decide: Callable[[], Consent],
    send: Send = uploader.send,
    force: bool = False,
) -> list[tuple[StoredReport, Outcome]]:
    """Send what is due, a request for each completed week, until one is not taken.

    Args:
        journal: The journal of the consent.
        consent: The consent under which it was opened.
        schema: The list of what may leave.
        now: Decides which weeks are over and due.
        url: The collector's address.
        decide: The consent in force now, asked before each send: nothing goes once it is another one.
        send: Gives a report's bytes to the collector.
        force: Send what is not due yet too, today's try or not; a report that was not taken stops nothing.

    Returns:
        Each report that was tried, and what became of it.

    Raises:
        ValueError: the address is none; says what one must be.
        sqlite3.Error, OSError: when the disk does.
    """
    address, collector = Address.parse(url), url.strip()
    outcomes: list[tuple[StoredReport, Outcome]] = []

    def make(counts: Counts, token: bytes) -> bytes | None:
        return _body(counts, token, consent, schema)

    began = time.monotonic()
    while True:
        tried = [report.week for report, _ in outcomes]
        claimed = time.monotonic()  # those before it took seconds
        moment = now + timedelta(seconds=claimed - began)
        due = journal.claim(moment, collector, make, force=force, beside=tried)
        if due is None or due.body is None or not decide().is_same(consent):
            break
        if (
            time.monotonic() - claimed > _LONGEST_PAUSE
        ):  # the machine slept: a deletion does not wait for it any more
            break
        outcome = send(due.body, address)
        journal.note(due.week, _settled(outcome))
        outcomes.append((due, outcome))
    return outcomes


def _settled(outcome: Outcome) -> str | None:
    if isinstance(outcome, Sent):
        return "sent"
    return "refused" if isinstance(outcome, Refused) and outcome.final else None


def delete(
    home: Home,
    now: datetime,
    *,
    ask: Delete = uploader.delete,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Week, Deletion]:
    """Have every report deleted that may be at a collector, each at the one that it went to.

    What is deleted, or gone, is forgotten here too; of the others the token stays, so that this can be done again.
    To be called after the no is recorded: a report that is being sent meanwhile is waited for, some seconds.

    Args:
        home: Whose reports.
        now: Which of them may still be on their way.
        ask: Asks a collector to delete what a token names.
        sleep: Waits for seconds.

    Returns:
        What became of each week's report; {} when none was ever tried.

    Raises:
        sqlite3.Error, OSError: when the disk does.
    """
    reports = tried_reports(home.journal_file)
    on_their_way = [report.busy_until - now for report in reports if report.busy_until is not None]
    if on_their_way:
        sleep(min(max([*on_their_way, timedelta(0)]), ONE_TRY).total_seconds())
    answers = {report.week: _deletion(report, ask) for report in reports}
    settled = [week for week, answer in answers.items() if isinstance(answer, Deleted | Gone)]
    if settled:
        forget(home, settled)
    return answers


def _deletion(report: StoredReport, ask: Delete) -> Deletion:
    try:
        address = Address.parse(report.collector or "")
    except ValueError:  # a journal that somebody has edited
        return Unreachable("the journal names no collector")
    return ask(report.token, address)


def sample(spans: Iterable[Span], consent: Consent, schema: Schema, token: bytes) -> bytes | None:
    """The bytes that some requests alone would make, built in memory; None when there is nothing to send."""
    records = [record for span in spans if (record := anonymize(span, schema)) is not None]
    if not records:
        return None
    return _body(count(records, records[-1].week, schema), token, consent, schema)


def _body(counts: Counts, token: bytes, consent: Consent, schema: Schema) -> bytes | None:
    report = make_report(counts, schema, token=token, purposes=consent.purposes)
    return None if report is None else encode([report], schema)
