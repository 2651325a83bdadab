"""Journal -> weekly report -> collector: which weeks are due, their exact bytes, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from metavox.telemetry.journal import Journal, StoredReport
from metavox.telemetry.uploader import Outcome, Refused, Sent
from metavox_privacy.anonymize import anonymize
from metavox_privacy.consent import Consent
from metavox_privacy.report import Counts, count, make_report
from metavox_privacy.schema import Schema
from metavox_privacy.span import Span
from metavox_privacy.wire import encode

Send = Callable[[bytes], Outcome]


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


def preview(journal: Journal, consent: Consent, schema: Schema, now: datetime) -> list[Preview]:
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
    send: Send,
    *,
    decide: Callable[[], Consent],
) -> list[tuple[StoredReport, Outcome]]:
    """Send what is due, a request for each completed week, until it is settled.

    The bytes are in the journal before they are first sent: after a crash the same report goes out
    again under the same name, and the collector counts it once.

    Args:
        journal: The journal of the consent.
        consent: The consent under which it was opened.
        schema: The list of what may leave.
        now: Decides which weeks are over.
        send: Gives a report's bytes to the collector.
        decide: The consent in force now, asked before each send: nothing goes once it is another one.
    """
    outcomes = []
    for due in preview(journal, consent, schema, now):
        if not due.complete or due.report.outcome is not None:
            continue
        body = journal.build(due.report.week, due.body)
        if body is None or decide() != consent:
            break
        outcome = send(body)
        if isinstance(outcome, Sent):
            journal.settle(due.report.week, "sent")
        elif isinstance(outcome, Refused) and outcome.final:
            journal.settle(due.report.week, "refused")
        outcomes.append((due.report, outcome))
    return outcomes


def sample(spans: Iterable[Span], consent: Consent, schema: Schema, token: bytes) -> bytes | None:
    """The bytes that some requests alone would make, built in memory; None when there is nothing to send."""
    records = [record for span in spans if (record := anonymize(span, schema)) is not None]
    if not records:
        return None
    return _body(count(records, records[-1].week, schema), token, consent, schema)


def _body(counts: Counts, token: bytes, consent: Consent, schema: Schema) -> bytes | None:
    report = make_report(counts, schema, token=token, purposes=consent.purposes)
    return None if report is None else encode([report], schema)
