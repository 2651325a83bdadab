from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from metavox_collector.app import create_app
from metavox_collector.errors import StoreUnavailable
from metavox_collector.settings import Settings
from metavox_collector.stage import Stager
from metavox_collector.store import Database
from metavox_privacy.wire import Rejected
from tests.spans import WEEK, example_report, example_span
from tests.unit.collector.releases import CAP

FOUR_WEEKS = timedelta(weeks=4)
NOW = WEEK.end


@pytest.fixture
def stager(database):
    return Stager(database, FOUR_WEEKS)


def report(token: bytes = b"token", **changes):
    return replace(example_report(token=token), **changes)


def staged(database: Database):
    with database.read() as transaction:
        return list(transaction.staged_reports(WEEK, "publish"))


def reasons(rejected):
    return [item.reason for item in rejected]


def test_a_report_comes_back_from_the_database_as_it_went_in(database, stager, schema):
    sent = example_report(example_span(), example_span(metavox__request__concurrency=1), schema=schema)
    assert stager.stage([sent], NOW) == []
    assert staged(database) == [sent]


def test_the_same_report_twice_is_stored_once_and_accepted_twice(database, stager):
    assert stager.stage([report(), report()], NOW) == []
    assert stager.stage([report()], NOW) == []
    assert len(staged(database)) == 1


def test_good_reports_are_stored_beside_bad_ones(database, stager):
    bad = Rejected("an attribute is not in the schema", 3)
    early = report(b"early", week=replace(WEEK, number=WEEK.number + 1))
    assert stager.stage([bad, early, report(b"good")], NOW) == [bad, Rejected("the week is not over", 1)]
    assert [item.report_id for item in staged(database)] == [report(b"good").report_id]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (WEEK.end - timedelta(seconds=1), ["the week is not over"]),
        (WEEK.end, []),
        (WEEK.end + FOUR_WEEKS - timedelta(seconds=1), []),
        (WEEK.end + FOUR_WEEKS, ["the week is too old"]),
    ],
)
def test_a_week_is_open_from_its_end_for_five_weeks(database, stager, now, reason):
    assert reasons(stager.stage([report()], now)) == reason
    assert len(staged(database)) == (0 if reason else 1)


def test_production_takes_no_synthetic_report(database, stager):
    assert reasons(stager.stage([report(synthetic=True)], NOW)) == ["synthetic reports go to a sandbox"]
    assert staged(database) == []


def test_a_sandbox_takes_synthetic_reports(url, schema):
    database = Database.create(url, schema, sandbox=True, yearly_cap=CAP)
    assert Stager(database, FOUR_WEEKS).stage([report(synthetic=True)], NOW) == []
    assert [item.synthetic for item in staged(database)] == [True]
    database.dispose()


def test_a_purpose_that_was_not_granted_is_not_read_back(database, stager):
    stager.stage([report(purposes=frozenset({"improve"}))], NOW)
    assert staged(database) == []


def test_many_threads_are_all_stored_and_all_told(database, stager):
    reports = [report(bytes([i])) for i in range(64)]
    outcomes: list[object] = []
    threads = [
        threading.Thread(target=lambda part=part: outcomes.append(stager.stage(part, NOW)))
        for part in (reports[i : i + 4] for i in range(0, 64, 4))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [[]] * 16
    assert len(staged(database)) == 64


def test_a_locked_database_is_told_and_stores_nothing(url, schema, database):
    impatient = Database.create(url, schema, sandbox=False, yearly_cap=CAP, busy_timeout=0.05)
    with database.write(), pytest.raises(StoreUnavailable, match="locked"):
        Stager(impatient, FOUR_WEEKS).stage([report()], NOW)
    impatient.dispose()
    assert staged(database) == []


def test_the_default_agrees_with_the_window_tested_here(url):
    assert Settings(db=url).accepted_for == FOUR_WEEKS


def test_nobody_can_configure_a_longer_keeping_than_people_were_promised(url):
    with pytest.raises(ValueError, match="accept_weeks"):
        Settings(db=url, accept_weeks=5)


def test_a_report_that_no_close_came_for_is_destroyed_when_its_week_is_accepted_no_more(database, stager):
    stager.stage([report()], NOW)
    assert stager.expire(WEEK.end + FOUR_WEEKS - timedelta(seconds=1)) == 0
    assert len(staged(database)) == 1
    assert stager.expire(WEEK.end + FOUR_WEEKS) == 1
    assert staged(database) == []


def test_a_running_service_destroys_what_has_expired(url, schema, database, stager):
    stager.stage([report()], NOW)
    with TestClient(create_app(Settings(db=url), clock=lambda: WEEK.end + FOUR_WEEKS, schema=schema)) as client:
        deadline = time.monotonic() + 20
        while staged(database) and time.monotonic() < deadline:
            client.get("/health")
    assert staged(database) == []
