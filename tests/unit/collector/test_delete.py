from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from metavox_collector import housekeeping
from metavox_collector.clock import fixed
from metavox_collector.close import close_week
from metavox_collector.housekeeping import Housekeeping
from metavox_collector.settings import Settings
from metavox_collector.stage import Stager
from metavox_collector.store import Database, rewriting
from metavox_privacy.report import ReportCell, apportion
from metavox_privacy.wire import Rejected, encode
from tests.spans import WEEK, example_report
from tests.unit.collector.releases import AFTER, NEXT, everything, generous, stage_fleet
from tests.unit.collector.test_app import ask, make_app, post  # noqa: F401  # make_app is a fixture

NOW = WEEK.end
FOUR_WEEKS = timedelta(weeks=4)
TOKEN = bytes(range(32))
DELETED = [Rejected("the report was deleted", 1)]


def report(token: bytes = TOKEN, **changes):
    return replace(example_report(token=token), **changes)


def staged(database: Database) -> set[str]:
    return {row.report_id for row in everything(database)["staged_report"]}


def left_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


@pytest.fixture
def stager(database):
    return Stager(database, FOUR_WEEKS)


def test_a_token_deletes_its_report_and_no_other(database, stager):
    stager.stage([report(), report(b"another")], NOW)
    assert stager.delete(TOKEN) is True
    assert staged(database) == {report(b"another").report_id}
    assert len(everything(database)["staged_cell"]) == 1
    assert stager.delete(TOKEN) is False


def test_a_retry_that_was_on_its_way_does_not_bring_a_deleted_report_back(url, schema, database, stager):
    stager.stage([report()], NOW)
    stager.delete(TOKEN)
    assert stager.stage([report()], NOW) == DELETED
    other_process = Database.existing(url, schema)
    assert Stager(other_process, FOUR_WEEKS).stage([report(), report(b"another")], NOW) == DELETED
    other_process.dispose()
    assert staged(database) == {report(b"another").report_id}


def test_a_report_that_is_deleted_before_its_first_delivery_is_done_is_not_staged_after_it(database, stager):
    assert stager.delete(TOKEN) is False
    assert stager.stage([report()], NOW) == DELETED
    assert staged(database) == set()


def test_who_deletes_waits_for_the_delivery_that_is_being_committed(url, schema, database):
    patient = Database.existing(url, schema, busy_timeout=20)
    stager = Stager(patient, FOUR_WEEKS)
    with database.write():
        delivery = threading.Thread(target=stager.stage, args=([report()], NOW))
        delivery.start()
        while not stager._commit.locked():
            pass
        deletion = threading.Thread(target=stager.delete, args=(TOKEN,))
        deletion.start()
        deletion.join(0.05)
        assert deletion.is_alive()
    delivery.join()
    deletion.join()
    patient.dispose()
    assert staged(database) == set()


def test_what_is_remembered_of_deletions_is_bounded(stager, monkeypatch):
    monkeypatch.setattr("metavox_collector.stage._REMEMBERED", 3)
    for number in range(10):
        stager.delete(bytes([number]))
    assert len(stager._unwanted) == 3


def test_a_deletion_outlives_the_process_that_was_asked_and_ends_with_the_week(url, schema, database, stager):
    stage_fleet(database, 30)
    stager.stage([report()], NOW)
    stager.delete(TOKEN)
    assert len(everything(database)["deleted_report"]) == 1
    close_week(database, WEEK, generous(url), now=AFTER)
    assert everything(database)["deleted_report"] == []
    stager.stage([report(b"next", week=NEXT)], NEXT.end)
    stager.delete(b"next")
    stager.expire(NEXT.end + FOUR_WEEKS)
    assert everything(database)["deleted_report"] == []


def test_what_is_kept_of_a_deleted_report_gives_no_name_away(database, stager):
    stager.stage([report()], NOW)
    stager.delete(TOKEN)
    ((tombstone, week),) = everything(database)["deleted_report"]
    assert (len(tombstone), week) == (64, str(WEEK))
    assert tombstone not in (
        TOKEN.hex(),
        report().report_id,
        hashlib.sha256(report().report_id.encode()).hexdigest(),
    )


def test_after_the_close_there_is_nothing_left_to_delete(url, database, stager):
    stage_fleet(database, 30)
    stager.stage([report()], NOW)
    close_week(database, WEEK, generous(url), now=AFTER)
    assert stager.delete(TOKEN) is False


def fill(database: Database, weeks=(WEEK,)) -> dict[bytes, bytes]:
    """Stage a thousand reports of many sizes, as many of each week, a few at a time; their names by token.

    So SQLite splits pages and leaves copies in them: without writing the tables anew, some names were left.
    """
    chance, one = random.Random(3), example_report(schema=database.schema)
    names, reports = {}, []
    for number in range(1000):
        token = hashlib.sha256(f"token {number}".encode()).digest()
        name = hashlib.sha256(token).hexdigest()
        names[token] = name.encode()
        cells = tuple(_cell(one.cells[0], chance) for _ in range(1 + number % 2))
        reports.append(replace(one, report_id=name, week=weeks[number % len(weeks)], cells=cells))
    for start in range(0, len(reports), 8):
        with database.write() as transaction:
            transaction.add_reports(reports[start : start + 8])
    return names


def _cell(like: ReportCell, chance: random.Random) -> ReportCell:
    histograms = {}
    for name, units in like.histograms.items():
        held = min(chance.randint(1, 8), len(units))
        histograms[name] = apportion([1] * held + [0] * (len(units) - held), 256)
    return ReportCell(like.key, histograms)


def test_no_byte_of_a_deleted_reports_name_is_left_in_the_files(database, stager, tmp_path):
    names = fill(database)
    assert all(name in left_in(tmp_path) for name in names.values())
    deleted = list(names)[::4]
    assert all(stager.delete(token) for token in deleted)
    rewrite(stager)
    data = left_in(tmp_path)
    assert [name for token, name in names.items() if token in deleted and name in data] == []
    assert all(name in data for token, name in names.items() if token not in deleted)
    assert not any(token in data for token in names)
    assert len(everything(database)["staged_cell"]) == sum(2 if i % 2 else 1 for i in range(1000) if i % 4)


def test_no_byte_of_a_destroyed_weeks_names_is_left_beside_those_of_another_week(url, database, tmp_path):
    names = list(fill(database, (WEEK, NEXT)).values())
    close_week(database, WEEK, generous(url), now=AFTER)
    data = left_in(tmp_path)
    assert [name for name in names[::2] if name in data] == []
    assert all(name in data for name in names[1::2])


def rewrite(stager: Stager) -> int:
    """Write anew all that is due; in how many pieces."""
    pieces = 1
    while stager.rewrite_a_piece():
        pieces += 1
    assert stager.scrub()
    return pieces


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(rewriting, "_REPORTS_AT_A_TIME", 100)


@pytest.mark.usefixtures("small_pieces")
def test_between_two_pieces_of_rewriting_reports_are_taken_found_deleted_and_never_lost(
    url, schema, database, stager, tmp_path
):
    names = fill(database)
    tokens, deleted = iter(names), []
    stager.delete(next(tokens))
    pieces = 0
    while stager.rewrite_a_piece() and pieces < 10:
        pieces += 1
        deleted.append(next(tokens))
        assert stager.delete(deleted[-1])
        late = report(b"late %d" % pieces)
        assert stager.stage([late, late], NOW) == []
        assert stager.stage([late], NOW) == []
    assert pieces == 10
    other = Stager(Database.existing(url, schema), FOUR_WEEKS)  # as after a crash
    rewrite(other)
    other._database.dispose()
    data = left_in(tmp_path)
    assert [name for token, name in names.items() if token in deleted and name in data] == []
    rows = [row.report_id for row in everything(database)["staged_report"]]
    assert len(rows) == len(set(rows)) == 1000 - 11 + 10
    with database.read() as transaction:
        assert sorted(one.report_id for one in transaction.staged_reports(WEEK, "publish")) == sorted(rows)


@pytest.mark.usefixtures("small_pieces")
def test_a_close_in_the_middle_of_rewriting_takes_every_report_and_leaves_none(url, database, stager, tmp_path):
    names = fill(database)
    stager.delete(next(iter(names)))
    assert stager.rewrite_a_piece() is True
    closed = close_week(database, WEEK, generous(url), now=AFTER)
    assert [round(table.cells[0].contributors, -1) for table in closed.releases[0].tables][:1] == [1000]
    assert everything(database)["staged_report"] == []
    assert [name for name in names.values() if name in left_in(tmp_path)] == []


@pytest.mark.usefixtures("small_pieces")
def test_rewriting_holds_a_piece_at_a_time_and_nothing_when_nothing_was_deleted(database, stager):
    tokens = list(fill(database))
    assert rewrite(stager) == 1
    stager.delete(tokens[0])
    assert rewrite(stager) == 10
    assert rewrite(stager) == 1


def test_a_running_service_removes_the_last_bytes_when_a_report_was_deleted(make_app, url, schema, tmp_path):  # noqa: F811
    app = make_app(Settings(db=url), clock=fixed(NOW), schema=schema)
    names = fill(app.state.database)
    tokens = list(names)[::4]
    with TestClient(app) as client:
        assert all(client.delete(f"/v1/reports/{token.hex()}").status_code == 204 for token in tokens)
        assert until(lambda: not [token for token in tokens if names[token] in left_in(tmp_path)])


@pytest.mark.usefixtures("small_pieces")
def test_rewriting_rests_for_most_of_the_time(schema, database, stager, monkeypatch):
    stager.delete(next(iter(fill(database))))
    rests: list[float] = []

    async def waited(_event: asyncio.Event, seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(housekeeping, "_waited", waited)
    began = time.monotonic()
    assert asyncio.run(Housekeeping(stager, fixed(NOW))._rewritten()) is True
    assert len(rests) == 9
    assert 0 < sum(rests) <= 9 * (time.monotonic() - began)
    assert sum(rests) > 9 * 0.5 * (time.monotonic() - began)


def until(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_database_of_before_learns_to_delete(url, schema, tmp_path):
    Database.create(url, schema, sandbox=False, yearly_cap=1).dispose()
    with closing(sqlite3.connect(tmp_path / "collector.db")) as older:
        for table in ("deleted_report", "rewriting", "staged_cell_2", "staged_report_2"):
            older.execute(f"DROP TABLE {table}")
    opened = Database.existing(url, schema)
    assert Stager(opened, FOUR_WEEKS).delete(TOKEN) is False
    with opened.write() as transaction:
        transaction.destroy_staged(WEEK)
    opened.dispose()


@pytest.mark.parametrize("sandbox", [False, True])
def test_204_is_answered_when_the_report_is_gone_and_404_from_then_on(make_app, url, schema, tmp_path, sandbox):  # noqa: F811
    settings = Settings(db=url, sandbox=sandbox)
    app = make_app(settings, clock=fixed(NOW), schema=schema)
    sent = example_report(token=TOKEN, schema=schema, synthetic=sandbox)
    assert post(app, encode([sent], schema)).content == b""
    assert sent.report_id.encode() in left_in(tmp_path)
    response = ask(app, "DELETE", f"/v1/reports/{TOKEN.hex().upper()}")
    assert (response.status_code, response.content) == (204, b"")
    with TestClient(make_app(settings, clock=fixed(NOW), schema=schema)):  # it goes on where the last one ended
        assert until(lambda: sent.report_id.encode() not in left_in(tmp_path))
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
    app = make_app(Settings(db=url, busy_timeout_s=0.05, retry_after_s=7), clock=fixed(NOW), schema=schema)
    sent = example_report(token=TOKEN, schema=schema)
    post(app, encode([sent], schema))
    other = Database.existing(url, schema)
    with caplog.at_level(logging.DEBUG), other.write():
        response = ask(app, "DELETE", f"/v1/reports/{TOKEN.hex()}")
    other.dispose()
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("metavox"))
    assert "OperationalError" in ours
    assert TOKEN.hex() not in ours + response.text
    assert sent.report_id not in ours
    assert ask(app, "DELETE", f"/v1/reports/{TOKEN.hex()}").status_code == 204
