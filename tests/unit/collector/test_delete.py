from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from metavox_collector.clock import fixed
from metavox_collector.close import close_week
from metavox_collector.errors import BeingClosed, StoreUnavailable
from metavox_collector.housekeeping import expire
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from metavox_privacy.wire import Rejected, encode
from tests.spans import WEEK, example_report
from tests.unit.collector.deletions import TOKEN, delete, report, stage, staged
from tests.unit.collector.releases import AFTER, CAP, NEXT, everything, generous, stage_fleet
from tests.unit.collector.test_app import ask, make_app, post  # noqa: F401  # make_app is a fixture
from tests.waiting import FOR_EVER, waits

NOW = WEEK.end
FOUR_WEEKS = timedelta(weeks=4)
DELETED = [Rejected("deleted", "the report was deleted", 1)]


@pytest.fixture
def other(url, schema, database) -> Iterator[Database]:
    """The same database as another process has it, which does not wait long."""
    opened = Database.existing(url, schema, busy_timeout=0.05)
    yield opened
    opened.dispose()


def test_a_token_deletes_its_report_and_no_other(database):
    stage(database, report(), report(b"another"))
    assert delete(database, TOKEN) is True
    assert staged(database) == {report(b"another").report_id}
    assert delete(database, TOKEN) is False


def test_a_report_that_is_staged_in_two_weeks_is_deleted_in_both(database):
    stage(database, report(), report(week=NEXT))
    assert delete(database, TOKEN) is True
    assert staged(database) == set()


def test_a_retry_that_was_on_its_way_does_not_bring_a_deleted_report_back(database, other):
    stage(database, report())
    delete(database, TOKEN)
    assert stage(database, report()) == DELETED
    assert stage(other, report(), report(b"another")) == DELETED
    assert staged(database) == {report(b"another").report_id}


def test_a_report_that_is_deleted_before_its_first_delivery_is_taken_in_no_process(database, other):
    assert delete(database, TOKEN) is False
    assert delete(database, TOKEN) is False
    assert stage(other, report(), report(b"another")) == DELETED
    assert staged(database) == {report(b"another").report_id}


def test_who_deletes_waits_for_the_delivery_that_is_being_committed(url, schema, database):
    patient = Database.existing(url, schema, busy_timeout=FOR_EVER)
    with database.staging({WEEK}) as delivery:
        delivery.add_reports([report()])
        deletion = threading.Thread(target=delete, args=(patient, TOKEN))
        deletion.start()
        assert waits(deletion, url)
    deletion.join()
    patient.dispose()
    assert staged(database) == set()


def test_nobody_stages_while_somebody_deletes(database, other):
    with database.deleting(), pytest.raises(StoreUnavailable):
        stage(other, report())
    assert stage(other, report()) == []


def test_a_report_whose_week_is_being_closed_is_not_said_to_be_deleted(database, other):
    stage(database, report())
    with database.closing(WEEK) as transaction:
        with pytest.raises(StoreUnavailable):
            delete(other, TOKEN)
        transaction.destroy_staged(WEEK)
    assert delete(other, TOKEN) is False


def test_postgresql_takes_and_deletes_reports_of_other_weeks_during_a_close(postgres_url, schema):
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP, busy_timeout=0.5)
    stage(database, report(), report(b"next", week=NEXT))
    with database.closing(WEEK) as transaction:
        assert sum(map(len, transaction.staged_rows(WEEK))) == 1
        with pytest.raises(BeingClosed) as told:
            stage(database, report(b"late"))
        assert told.value.weeks == {202647}
        assert stage(database, report(b"later", week=NEXT)) == []
        assert delete(database, b"next") is True
        transaction.destroy_staged(WEEK)
    assert staged(database) == {report(b"later").report_id}
    database.dispose()


def test_of_two_closes_at_once_one_waits_and_is_told(database, other):
    told = pytest.raises(StoreUnavailable, match="another close is under way")
    with database.closing(WEEK), told, other.closing(NEXT):
        pytest.fail("the transaction began")


def test_a_deletion_outlives_the_close_and_ends_when_the_week_is_accepted_no_more(url, database):
    stage_fleet(database, 30)
    stage(database, report())
    delete(database, TOKEN)
    close_week(database, WEEK, generous(url), now=AFTER)
    assert len(everything(database)["deleted_report"]) == 1
    expire(database, WEEK.end + FOUR_WEEKS - timedelta(seconds=1), FOUR_WEEKS)
    assert len(everything(database)["deleted_report"]) == 1
    expire(database, WEEK.end + FOUR_WEEKS, FOUR_WEEKS)
    assert everything(database)["deleted_report"] == []


def test_what_is_kept_of_a_deleted_report_gives_no_name_away(database):
    stage(database, report())
    delete(database, TOKEN)
    ((tombstone, week, _),) = everything(database)["deleted_report"]
    name = bytes.fromhex(report().report_id)
    assert (len(tombstone), week) == (32, 202647)
    assert tombstone not in (TOKEN, name, hashlib.sha256(name).digest())


def test_after_the_close_there_is_nothing_left_to_delete(url, database):
    stage_fleet(database, 30)
    stage(database, report())
    close_week(database, WEEK, generous(url), now=AFTER)
    assert delete(database, TOKEN) is False


@pytest.mark.parametrize("sandbox", [False, True])
def test_204_is_answered_when_the_report_is_gone_and_404_from_then_on(make_app, url, schema, sandbox):  # noqa: F811
    app = make_app(Settings(db=url, sandbox=sandbox), clock=fixed(NOW), schema=schema)
    sent = example_report(token=TOKEN, schema=schema, synthetic=sandbox)
    assert post(app, encode([sent], schema)).content == b""
    response = ask(app, "DELETE", f"/v1/reports/{TOKEN.hex().upper()}")
    assert (response.status_code, response.content) == (204, b"")
    assert staged(app.state.database) == set()
    again = ask(app, "DELETE", f"/v1/reports/{TOKEN.hex()}")
    assert (again.status_code, again.json()) == (404, {"error": "nothing of that name is staged"})
    assert b"the report was deleted" in post(app, encode([sent], schema)).content


@pytest.mark.parametrize(
    "token", ["", "ab", "g" * 64, "0" * 63, "0" * 65, "%C2%B2" * 64, "0" * 32 + "/" + "0" * 31, " " * 64]
)
def test_what_is_no_token_is_refused_and_not_repeated(make_app, settings, schema, token):  # noqa: F811
    response = ask(make_app(settings, schema=schema), "DELETE", f"/v1/reports/{token}")
    assert (response.status_code, response.json()) == (400, {"error": "a token is 64 hexadecimal digits"})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "HEAD"])
def test_a_report_can_be_deleted_and_nothing_else(make_app, settings, schema, method):  # noqa: F811
    response = ask(make_app(settings, schema=schema), method, f"/v1/reports/{TOKEN.hex()}")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE")


def test_a_deletion_that_a_busy_database_cannot_take_is_503_with_a_time_to_wait(make_app, url, schema, caplog):  # noqa: F811
    patient = make_app(Settings(db=url), clock=fixed(NOW), schema=schema)  # each keeps house when it starts
    impatient = make_app(Settings(db=url, busy_timeout_s=0.05, retry_after_s=7), clock=fixed(NOW), schema=schema)
    sent = example_report(token=TOKEN, schema=schema)
    assert post(patient, encode([sent], schema)).status_code == 200
    other = Database.existing(url, schema)
    with caplog.at_level(logging.DEBUG), other.write():
        response = ask(impatient, "DELETE", f"/v1/reports/{TOKEN.hex()}")
    other.dispose()
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("metavox"))
    assert "the database could not be used: " in ours
    assert TOKEN.hex() not in ours + response.text
    assert sent.report_id not in ours
    assert ask(patient, "DELETE", f"/v1/reports/{TOKEN.hex()}").status_code == 204
