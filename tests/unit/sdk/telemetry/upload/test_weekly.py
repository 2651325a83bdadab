from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal, tried_reports, withdraw
from metavox.telemetry.journal.ledger import ONE_TRY, StoredReport
from metavox.telemetry.upload.transport import TIMEOUT
from metavox.telemetry.upload.uploader import Address, Deleted, Deletion, Gone, Outcome, Refused, Sent, Unreachable
from metavox.telemetry.upload.weekly import Send, delete, preview, sample, upload
from metavox_privacy.consent import Consent
from metavox_privacy.report import Report, report_id_of
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week
from metavox_privacy.wire import decode
from tests.spans import BOTH, WEEK, example_span
from tests.unit.sdk.telemetry.shared import (
    CONSENT,
    NEXT_WEEK,
    NOW,
    agree,
    home_in,
    journal_in,
    record_of,
    tally_of,
    tried,
)

COLLECTOR = "https://collector.example"
THIRD_WEEK = NEXT_WEEK + timedelta(days=7)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = home_in(tmp_path)
    journal_in(home).add(tally_of([record_of()] * 3))
    return home


class Collector:
    """Keeps what it is sent and answers what it is told to."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.bodies: list[bytes] = []

    def __call__(self, body: bytes, address: Address) -> Outcome:
        assert address == Address.parse(COLLECTOR)
        self.bodies.append(body)
        return self.outcome


def decided_upload(
    journal: Journal, now: datetime, send: Send, *, force: bool = True
) -> list[tuple[StoredReport, Outcome]]:
    """An upload during which nobody changes their mind."""
    return upload(journal, CONSENT, SCHEMA, now, COLLECTOR, decide=lambda: CONSENT, send=send, force=force)


def run(home: Home, collector: Collector, now=NEXT_WEEK) -> list[Outcome]:
    return [outcome for _, outcome in decided_upload(journal_in(home, now=now), now, collector)]


def test_what_is_sent_is_what_the_preview_showed_while_the_week_was_counting(home: Home):
    (early,) = preview(journal_in(home), CONSENT, SCHEMA, NOW)
    collector = Collector(Sent())
    run(home, collector)
    (late,) = preview(journal_in(home, now=NEXT_WEEK), CONSENT, SCHEMA, NEXT_WEEK)

    assert collector.bodies == [early.body] == [late.body]
    assert (early.complete, late.complete) == (False, True)


def test_the_collector_can_read_the_report_and_it_is_named_by_the_token(home: Home):
    collector = Collector(Sent())
    run(home, collector)
    (report,) = decode(ExportTraceServiceRequest.FromString(collector.bodies[0]), SCHEMA)
    (stored,) = journal_in(home, now=NEXT_WEEK).reports()

    assert isinstance(report, Report)
    assert report.report_id == report_id_of(stored.token)
    assert (report.week, report.purposes, report.synthetic) == (WEEK, BOTH, False)
    assert stored.token not in collector.bodies[0]


def test_a_week_that_still_counts_is_not_sent(home: Home):
    collector = Collector(Sent())

    assert run(home, collector, now=NOW) == []
    assert collector.bodies == []


@pytest.mark.parametrize("outcome", [Sent(), Refused(400), Refused(404)])
def test_a_settled_report_is_not_sent_again(home: Home, outcome: Outcome):
    collector = Collector(outcome)

    assert run(home, collector) == [outcome]
    assert run(home, collector) == []
    assert len(collector.bodies) == 1


@pytest.mark.parametrize("outcome", [Refused(429), Refused(500), Refused(503), Refused(302), Unreachable("away")])
def test_a_report_that_was_not_taken_is_sent_again_byte_for_byte(home: Home, outcome: Outcome):
    first, second = Collector(outcome), Collector(Sent())
    run(home, first)
    journal_in(home).add(tally_of([record_of()] * 5))  # late counts, for a week that is built
    run(home, second)

    assert first.bodies == second.bodies


def test_a_crash_between_sending_and_noting_sends_the_same_bytes_again(home: Home):
    bodies = []

    def crash(body: bytes, address: Address) -> Outcome:
        bodies.append(body)
        raise SystemExit

    with pytest.raises(SystemExit):
        decided_upload(journal_in(home, now=NEXT_WEEK), NEXT_WEEK, crash)
    collector = Collector(Sent())
    run(home, collector)
    assert collector.bodies == []  # for some seconds another process may still be sending it
    run(home, collector, now=NEXT_WEEK + ONE_TRY)

    assert collector.bodies == bodies


def narrow(home: Home) -> None:
    agree(home, purposes=frozenset({"improve"}))


def withdraw_file(home: Home) -> None:
    home.consent_file.unlink()


@pytest.mark.parametrize("change", [withdraw_file, narrow])
def test_nothing_is_sent_once_the_consent_has_changed_during_an_upload(home: Home, change):
    journal = journal_in(home, now=THIRD_WEEK)
    journal.add(tally_of([replace(record_of(), week=Week.of(NEXT_WEEK))]))
    agree(home)
    collector = Collector(Sent())

    def send(body: bytes, address: Address) -> Outcome:
        change(home)
        return collector(body, address)

    outcomes = upload(
        journal, CONSENT, SCHEMA, THIRD_WEEK, COLLECTOR, decide=lambda: home.consent({}), send=send, force=True
    )

    assert [report.week for report, _ in outcomes] == [WEEK]
    assert len(collector.bodies) == 1


def test_a_report_for_two_purposes_is_not_sent_after_one_of_them_is_taken_back(home: Home):
    run(home, Collector(Unreachable("away")))  # it is built, for both
    improve = replace(CONSENT, purposes=frozenset({"improve"}))
    collector = Collector(Sent())
    journal = journal_in(home, consent=improve, now=NEXT_WEEK)

    sent = upload(
        *(journal, improve, SCHEMA, NEXT_WEEK, COLLECTOR), decide=lambda: improve, send=collector, force=True
    )
    assert sent == []
    assert collector.bodies == []


def test_a_collector_that_is_away_costs_one_try_a_day_and_stops_the_other_weeks(home: Home):
    later = Week.of(NEXT_WEEK)
    journal_in(home, now=NEXT_WEEK).add(tally_of([replace(record_of(), week=later)]))
    collector, now = Collector(Unreachable("away")), later.end + timedelta(days=7)
    hours = []
    for hour in range(50):
        moment = now + timedelta(hours=hour)
        if decided_upload(journal_in(home, now=moment), moment, collector, force=False):
            hours.append(hour)

    assert hours == [0, 24, 48]
    assert len(collector.bodies) == 3


def test_all_weeks_that_are_due_go_one_after_the_other(home: Home):
    later = Week.of(NEXT_WEEK)
    journal_in(home, now=NEXT_WEEK).add(tally_of([replace(record_of(), week=later)]))
    collector, now = Collector(Sent()), later.end + timedelta(days=7)
    outcomes = decided_upload(journal_in(home, now=now), now, collector, force=False)

    assert [report.week for report, _ in outcomes] == [WEEK, later]


def test_a_claim_holds_for_as_long_as_its_sending_may_take_however_long_those_before_it_took(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    journal_in(home, now=NEXT_WEEK).add(tally_of([replace(record_of(), week=Week.of(NEXT_WEEK))]))
    clock, held = [100.0], []
    monkeypatch.setattr("metavox.telemetry.upload.weekly.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def send(body: bytes, address: Address) -> Outcome:
        (busy,) = [one.busy_until for one in tried_reports(home.journal_file) if one.busy_until is not None]
        held.append((busy - THIRD_WEEK).total_seconds() - (clock[0] - 100))
        clock[0] += 5
        return Sent()

    decided_upload(journal_in(home, now=THIRD_WEEK), THIRD_WEEK, send)

    assert len(held) == 2
    assert min(held) > ONE_TRY.total_seconds() - 1 > TIMEOUT


@pytest.mark.parametrize("asleep", [False, True])
def test_a_process_that_was_stopped_between_the_claim_and_the_sending_sends_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, asleep: bool
):
    clock, collector = [100.0], Collector(Sent())
    monkeypatch.setattr("metavox.telemetry.upload.weekly.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def decide() -> Consent:
        clock[0] += ONE_TRY.total_seconds() if asleep else 0.1  # a deletion waits no longer than that
        return CONSENT

    sent = upload(
        *(journal_in(home, now=NEXT_WEEK), CONSENT, SCHEMA, NEXT_WEEK, COLLECTOR),
        decide=decide,
        send=collector,
        force=True,
    )

    assert len(sent) == len(collector.bodies) == (0 if asleep else 1)


def test_whoever_asks_tries_each_week_once_whatever_the_answers(home: Home):
    later = Week.of(NEXT_WEEK)
    journal_in(home, now=NEXT_WEEK).add(tally_of([replace(record_of(), week=later)]))
    collector = Collector(Unreachable("away"))

    assert run(home, collector, now=later.end) == [Unreachable("away")] * 2
    assert run(home, collector, now=later.end) == [Unreachable("away")] * 2


def test_an_address_that_is_none_is_a_clear_error(home: Home):
    with pytest.raises(ValueError, match="https"):
        upload(journal_in(home), CONSENT, SCHEMA, NEXT_WEEK, "http://collector.example", decide=lambda: CONSENT)

    assert journal_in(home).reports()[0].tries == 0


class Deleting:
    """A collector that is asked to delete."""

    def __init__(self, answer: Deletion) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, Address]] = []

    def __call__(self, token: bytes, address: Address) -> Deletion:
        self.asked.append((token, address))
        return self.answer


@pytest.mark.parametrize("outcome", [Sent(), Unreachable("away"), Refused(503), Refused(400)])
@pytest.mark.parametrize("answer", [Deleted(), Gone()])
def test_each_report_that_was_tried_is_deleted_where_it_went_and_then_forgotten(
    home: Home, outcome: Outcome, answer: Deletion
):
    tried(home, outcome)
    (report,) = tried_reports(home.journal_file)
    withdraw(home)
    collector = Deleting(answer)

    assert delete(home, NEXT_WEEK, ask=collector) == {WEEK: answer}
    assert collector.asked == [(report.token, Address.parse(COLLECTOR))]
    assert not home.journal_file.exists()


@pytest.mark.parametrize("answer", [Unreachable("away"), Refused(503), Refused(400), Refused(302), Refused(429)])
def test_what_could_not_be_deleted_keeps_its_token_for_another_time(home: Home, answer: Deletion):
    tried(home, Sent())
    withdraw(home)

    assert delete(home, NEXT_WEEK, ask=Deleting(answer)) == {WEEK: answer}
    assert delete(home, NEXT_WEEK, ask=Deleting(Deleted())) == {WEEK: Deleted()}


def test_a_journal_that_somebody_has_edited_asks_nobody_and_keeps_the_token(home: Home):
    tried(home, Sent())
    with sqlite3.connect(home.journal_file) as sql:
        sql.execute("UPDATE reports SET collector = 'file:///etc/passwd'")
    sql.close()
    collector = Deleting(Deleted())

    assert isinstance(delete(home, NEXT_WEEK, ask=collector)[WEEK], Unreachable)
    assert collector.asked == []
    assert tried_reports(home.journal_file)


def test_what_was_never_tried_asks_nobody(home: Home):
    collector = Deleting(Deleted())

    assert delete(home, NEXT_WEEK, ask=collector) == {}
    assert collector.asked == []


def test_a_report_that_is_just_being_sent_is_waited_for(home: Home):
    journal_in(home).claim(NEXT_WEEK, COLLECTOR, lambda counts, token: b"body", force=True)
    waited: list[float] = []
    delete(home, NEXT_WEEK + timedelta(seconds=2), ask=Deleting(Gone()), sleep=waited.append)

    assert waited == [ONE_TRY.total_seconds() - 2]


def test_without_a_journal_there_is_nothing(tmp_path: Path):
    home = home_in(tmp_path)

    assert preview(journal_in(home), CONSENT, SCHEMA, NOW) == []
    assert run(home, Collector(Sent())) == []
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_a_report_made_in_memory():
    body = sample([example_span()], CONSENT, SCHEMA, b"token")
    assert body is not None
    (report,) = decode(ExportTraceServiceRequest.FromString(body), SCHEMA)

    assert isinstance(report, Report)
    assert report.cells[0].key == record_of().cell
    assert sample([], CONSENT, SCHEMA, b"token") is None
