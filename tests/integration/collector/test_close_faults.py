"""A close that is killed at each of its steps, closes at the same time, and a database that dies beneath one."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metavox_collector.close import close_week, require_intact
from metavox_collector.errors import StoreUnavailable
from metavox_collector.fold.sql import fold_week
from metavox_collector.fold.sums import Sums
from metavox_collector.store import Database, Transaction
from metavox_privacy.budget import AlreadyReleased, verify
from metavox_privacy.fields import Scope
from metavox_privacy.week import Week
from tests.integration.collector.closes import close_together, close_until, context, steps_of, tiny_schema
from tests.postgres import Server, server
from tests.spans import WEEK
from tests.unit.collector.releases import AFTER, CAP, NEXT, everything, generous, stage_fleet

SCHEMA = tiny_schema()
REPORTS = 30


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes databases that hold the same two staged weeks, and returns their URLs."""
    if request.param == "sqlite":
        yield _sqlite_copies(tmp_path)
        return
    started: Server = request.getfixturevalue("postgres")
    first = started.new_database()
    _fill(first)
    yield lambda: started.new_database(template=first.rpartition("/")[2])


def _sqlite_copies(folder: Path) -> Callable[[], str]:
    first, made = folder / "first.db", iter(range(100))
    _fill(f"sqlite:///{first}")

    def fresh() -> str:
        new = folder / str(next(made)) / "collector.db"
        new.parent.mkdir()
        shutil.copy(first, new)
        return f"sqlite:///{new}"

    return fresh


def _fill(url: str) -> None:
    database = Database.create(url, SCHEMA, sandbox=False, yearly_cap=CAP)
    stage_fleet(database, REPORTS)
    stage_fleet(database, REPORTS, week=NEXT)
    database.scrub()
    database.dispose()


@pytest.fixture
def opened() -> Iterator[Callable[[str], Database]]:
    held: dict[str, Database] = {}

    def opened(url: str) -> Database:
        if url not in held:
            held[url] = Database.existing(url, SCHEMA)
        return held[url]

    yield opened
    for database in held.values():
        database.dispose()


def test_a_close_that_is_killed_at_any_step_has_done_nothing_or_all(fresh, opened):
    url = fresh()
    before, names, last, done = everything(opened(url)), [], 0, 0
    while names[-1:] != ["end"]:
        last += 1
        names, status = steps_of(close_until, last, url, WEEK)
        assert (status, len(names)) == (-signal.SIGKILL, last)
        after = everything(opened(url))
        if after == before:
            assert not done, f"killed before {names[-1]} it had done nothing, and all one step sooner"
            continue
        _assert_all_is_done(opened(url), url, names[-1])
        done += 1
        url = fresh()
    assert last > done >= 3  # before what comes after the commit: the older weeks, the log, the end
    for step in ("fold", "folded", "draw", "INSERT INTO ledger", "INSERT INTO release", "commit", "scrub"):
        assert any(name.startswith(step) for name in names), step
    assert any(name.startswith(("DROP TABLE staged", "DROP TABLE IF EXISTS staged")) for name in names)


def _assert_all_is_done(database: Database, url: str, step: str) -> None:
    with database.read() as transaction:
        verify(transaction.ledger())
        assert [entry.week for entry in transaction.ledger()] == [WEEK, WEEK], step
        require_intact(transaction)
        assert transaction.count_staged(WEEK) == 0
        assert transaction.count_staged(NEXT) == REPORTS
    with pytest.raises(AlreadyReleased, match="once, ever"):
        close_week(database, WEEK, generous(url), now=AFTER)


def test_a_close_after_one_that_was_killed_before_it_was_committed_releases_the_week(fresh, opened):
    url = fresh()
    names, _ = steps_of(close_until, 0, fresh(), WEEK)
    at = names.index("folded") + 1
    assert steps_of(close_until, at, url, WEEK)[1] == -signal.SIGKILL
    closed = close_week(opened(url), WEEK, generous(url), now=AFTER)
    assert [release.tables[0].cells[0].contributors for release in closed.releases] == [REPORTS, REPORTS]


@pytest.mark.parametrize(
    ("weeks", "outcomes"),
    [
        ([WEEK] * 4, {("released", 1), ("AlreadyReleased", 3)}),
        ([WEEK, NEXT] * 2, {("released", 2), ("AlreadyReleased", 2)}),
    ],
    ids=["of one week", "of two weeks"],
)
def test_of_closes_at_the_same_time_each_week_is_released_by_one(fresh, opened, weeks, outcomes):
    url, barrier = fresh(), context().Barrier(len(weeks))
    pipes = [context().Pipe(duplex=False) for _ in weeks]
    processes = [
        context().Process(target=close_together, args=(barrier, url, week, theirs))
        for week, (_, theirs) in zip(weeks, pipes, strict=True)
    ]
    for process, (_, theirs) in zip(processes, pipes, strict=True):
        process.start()
        theirs.close()  # so that one that tells nothing is noticed
    told = [ours.recv() for ours, _ in pipes]
    for process in processes:
        process.join()
    assert {(how, told.count(how)) for how in told} == outcomes
    with opened(url).read() as transaction:
        verify(transaction.ledger())
        assert sorted(entry.week for entry in transaction.ledger()) == sorted([*set(weeks), *set(weeks)])
        require_intact(transaction)


def test_a_database_that_dies_beneath_a_close_has_done_nothing_and_can_be_closed_again(opened):
    with server(durable=True) as started:
        url = started.new_database()
        _fill(url)
        database = opened(url)

        def fold(transaction: Transaction, week: Week, scope: Scope) -> Sums:
            sums = fold_week(transaction, week, scope)
            started.kill()
            return sums

        with pytest.raises(StoreUnavailable):
            close_week(database, WEEK, generous(url), now=AFTER, fold=fold)
        started.start()
        with database.read() as transaction:
            assert transaction.ledger() == []
            assert transaction.count_staged(WEEK) == REPORTS
        assert close_week(database, WEEK, generous(url), now=AFTER).releases


def test_a_database_that_dies_while_it_is_read_is_said_to_be_away(opened):
    with server(durable=True) as started:
        url = started.new_database()
        _fill(url)
        database = opened(url)

        def fold(transaction: Transaction, week: Week, scope: Scope) -> Sums:
            started.kill()
            return fold_week(transaction, week, scope)

        with pytest.raises(StoreUnavailable, match="cannot be used now"):
            close_week(database, WEEK, generous(url), now=AFTER, fold=fold)
        database.dispose()
