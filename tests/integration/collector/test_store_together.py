"""Everything at once on one database, each with connections of its own as in a process of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import pytest

from metavox_collector.close import close_week
from metavox_collector.errors import StoreUnavailable
from metavox_collector.store import Database
from metavox_privacy.report import report_id_of
from metavox_privacy.week import Week
from tests.postgres import server
from tests.spans import WEEK, example_report, small_schema
from tests.unit.collector.releases import AFTER, CAP, NEXT, generous, staged

SECONDS = 4.0
PATIENCE = 30.0
SCHEMA = small_schema()
ONE = example_report(schema=SCHEMA)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/collector.db"
        return
    with server() as started:
        yield started.new_database()


@dataclass
class Told:
    """What the senders and the people were told."""

    stored: dict[bytes, Week] = field(default_factory=dict)
    deleted: set[bytes] = field(default_factory=set)

    @property
    def is_much(self) -> bool:
        """Whether so much was staged and deleted that what is found says something."""
        stored = [token for token, week in [*self.stored.items()] if week == NEXT]
        return len(self.deleted) > 20 and len({*stored} - {*self.deleted}) > 50


Work: TypeAlias = Callable[[Database, Told, random.Random], None]


def test_whoever_stages_deletes_closes_and_keeps_house_at_once_nothing_told_is_untrue(url: str):
    Database.create(url, SCHEMA, sandbox=False, yearly_cap=CAP).dispose()
    told, end = Told(), time.monotonic() + SECONDS
    work = [stage, stage, stage, delete, keep_house, keep_house]
    with ThreadPoolExecutor(len(work) + 1) as threads:
        running = [threads.submit(again_and_again, one, url, told, end, seed) for seed, one in enumerate(work)]
        running.append(threads.submit(close_in_the_middle, url, end - SECONDS / 2))
        for each in running:
            each.result()
    left = look(url)
    # Whatever was acknowledged is there unless it was deleted or released; what was to be deleted is nowhere.
    gone = {report_id_of(token) for token in told.deleted}
    assert left == {report_id_of(token) for token, week in told.stored.items() if week == NEXT} - gone
    assert told.is_much


def again_and_again(work: Work, url: str, told: Told, end: float, seed: int) -> None:
    database, chance = Database.existing(url, SCHEMA, busy_timeout=1), random.Random(seed)
    while time.monotonic() < end or (not told.is_much and time.monotonic() < end + PATIENCE):
        with suppress(StoreUnavailable):
            work(database, told, chance)
    database.dispose()


def stage(database: Database, told: Told, chance: random.Random) -> None:
    tokens = {chance.randbytes(16): chance.choice((WEEK, NEXT)) for _ in range(8)}
    early = next(iter(tokens))
    with database.deleting() as transaction:
        assert transaction.delete_report(report_id_of(early), until=WEEK) is False
    told.deleted.add(early)
    reports = {token: replace(ONE, report_id=report_id_of(token), week=week) for token, week in tokens.items()}
    with database.staging(set(tokens.values())) as transaction:
        closed = transaction.closed_weeks()
        assert transaction.deleted_among([one.report_id for one in reports.values()]) == {report_id_of(early)}
        taken = {token: one for token, one in reports.items() if one.week not in closed and token != early}
        assert transaction.add_reports(taken.values()) == len(taken)
    told.stored.update({token: tokens[token] for token in taken})


def delete(database: Database, told: Told, chance: random.Random) -> None:
    if told.stored:
        token = chance.choice(list(told.stored))
        with database.deleting() as transaction:
            transaction.delete_report(report_id_of(token), until=WEEK)
        told.deleted.add(token)


def keep_house(database: Database, _told: Told, _chance: random.Random) -> None:
    with database.turn() as is_mine:
        if is_mine:
            database.keep_weeks(oldest=Week(2026, 45), newest=Week(2026, 49))
            database.rewrite_a_piece()
            database.scrub()
    time.sleep(0.05)


def close_in_the_middle(url: str, moment: float) -> None:
    database = Database.existing(url, SCHEMA, busy_timeout=20)
    time.sleep(max(moment - time.monotonic(), 0))
    close_week(database, WEEK, generous(url), now=AFTER)
    database.dispose()


def look(url: str) -> set[str]:
    """The names of all that is staged in the end."""
    database = Database.existing(url, SCHEMA)
    names = {row.report_id.hex() for row in staged(database)}
    with database.read() as transaction:
        assert list(transaction.staged_rows(WEEK)) == []
    database.dispose()
    return names
