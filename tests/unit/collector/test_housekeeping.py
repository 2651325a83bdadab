from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from starlette.testclient import TestClient

from metavox_collector import housekeeping
from metavox_collector.clock import fixed
from metavox_collector.housekeeping import Housekeeping
from metavox_collector.settings import Settings
from metavox_collector.store import Database
from tests.spans import WEEK
from tests.unit.collector.deletions import TOKEN, delete, fill, left_in, report, stage, staged
from tests.unit.collector.releases import CAP, everything
from tests.unit.collector.test_app import make_app  # noqa: F401  # a fixture
from tests.waiting import until

NOW = WEEK.end
FOUR_WEEKS = timedelta(weeks=4)


async def kept(database: Database, is_done: Callable[[], bool], moment=NOW) -> int:
    """Keep house beside, until something is done; how often all that was due was done."""
    rounds: list[None] = []
    house = Housekeeping(database, fixed(moment), FOUR_WEEKS, kept=lambda: rounds.append(None))
    async with house.going_on():
        assert await asyncio.to_thread(until, lambda: is_done() and bool(rounds))
    return len(rounds)


def test_what_no_close_came_for_is_destroyed_with_a_moved_clock(database):
    stage(database, report())
    stayed = asyncio.run(kept(database, lambda: True, WEEK.end + FOUR_WEEKS - timedelta(seconds=1)))
    assert (stayed, len(staged(database))) == (1, 1)
    assert asyncio.run(kept(database, lambda: not staged(database), WEEK.end + FOUR_WEEKS)) == 1


def test_what_was_to_be_deleted_is_forgotten_with_a_moved_clock(database):
    delete(database, TOKEN)
    asyncio.run(kept(database, lambda: True, WEEK.end + FOUR_WEEKS - timedelta(seconds=1)))
    assert len(everything(database)["deleted_report"]) == 1
    asyncio.run(kept(database, lambda: not everything(database)["deleted_report"], WEEK.end + FOUR_WEEKS))


def test_postgresql_has_a_partition_for_each_week_that_is_open_before_a_report_comes(postgres_url, schema):
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    asyncio.run(kept(database, lambda: True))
    assert partitions(postgres_url) == [202644, 202645, 202646, 202647, 202648]
    asyncio.run(kept(database, lambda: True, NOW + timedelta(weeks=6)))
    assert partitions(postgres_url) == [202650, 202651, 202652, 202653, 202701]
    database.dispose()


def partitions(url: str) -> list[int]:
    names = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'staged_cell'::regclass"
    with psycopg.connect(url) as connection:
        return sorted(int(row[0].removeprefix("staged_cell_")) for row in connection.execute(names))


def test_while_another_process_keeps_house_this_one_waits_for_its_turn(url, schema, database, monkeypatch):
    monkeypatch.setattr(housekeeping, "_AWAIT_TURN", 0.05)
    stage(database, report())
    other, asked, real = Database.existing(url, schema), [], database.turn
    monkeypatch.setattr(database, "turn", lambda: asked.append(None) or real())
    turn = other.turn()
    assert turn.__enter__() is True

    async def go() -> None:
        house = Housekeeping(database, fixed(WEEK.end + FOUR_WEEKS), FOUR_WEEKS)
        async with house.going_on():
            assert await asyncio.to_thread(until, lambda: len(asked) > 2)  # and was refused twice
            assert len(staged(database)) == 1
            await asyncio.to_thread(turn.__exit__, None, None, None)
            assert await asyncio.to_thread(until, lambda: not staged(database))

    asyncio.run(go())
    other.dispose()


@pytest.fixture
def on_sqlite(sqlite_url, schema) -> Iterator[Database]:
    opened = Database.create(sqlite_url, schema, sandbox=False, yearly_cap=CAP)
    yield opened
    opened.dispose()


def test_a_running_service_removes_the_last_bytes_when_a_report_was_deleted(make_app, sqlite_url, schema, tmp_path):  # noqa: F811
    app = make_app(Settings(db=sqlite_url), clock=fixed(NOW), schema=schema)
    names = fill(app.state.database)
    tokens = list(names)[::4]

    def are_gone() -> bool:
        data = left_in(tmp_path)
        return not any(names[token] in data for token in tokens)

    with TestClient(app) as client:
        assert all(client.delete(f"/v1/reports/{token.hex()}").status_code == 204 for token in tokens)
        assert until(are_gone)


def test_a_service_that_starts_removes_what_the_last_one_left(make_app, on_sqlite, sqlite_url, schema, tmp_path):  # noqa: F811
    stage(on_sqlite, report())
    delete(on_sqlite, TOKEN)
    name = bytes.fromhex(report().report_id)
    assert name in left_in(tmp_path)
    with TestClient(make_app(Settings(db=sqlite_url), clock=fixed(NOW), schema=schema)):
        assert until(lambda: name not in left_in(tmp_path))


def test_rewriting_rests_for_most_of_the_time(on_sqlite, monkeypatch):
    moment, pieces, rests = [0.0], [1.0, 0.5, 2.0, 3.0], []

    def work() -> bool:
        moment[0] += pieces.pop(0)
        return bool(pieces)

    async def waited(_event: asyncio.Event, seconds: float) -> None:
        rests.append(seconds)
        moment[0] += seconds

    monkeypatch.setattr(housekeeping, "time", SimpleNamespace(monotonic=lambda: moment[0]))
    monkeypatch.setattr(housekeeping, "_waited", waited)
    monkeypatch.setattr(on_sqlite, "rewrite_a_piece", work)
    assert asyncio.run(Housekeeping(on_sqlite, fixed(NOW), FOUR_WEEKS)._rewritten()) is True
    assert rests == [9.0, 4.5, 18.0]  # after the last piece there is nothing to rest for


def test_postgresql_writes_weeks_anew_once_a_day(postgres_url, schema, monkeypatch):
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    house, rewritten = Housekeeping(database, fixed(NOW), FOUR_WEEKS), []
    monkeypatch.setattr(database, "rewrite_a_piece", lambda: bool(rewritten.append(None)))
    for _ in range(3):
        assert asyncio.run(house._rewritten()) is True
    assert len(rewritten) == 1
    database.dispose()
