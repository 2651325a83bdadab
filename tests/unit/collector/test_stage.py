from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from metavox_collector.errors import StoreUnavailable
from metavox_collector.observe import Metrics
from metavox_collector.settings import Settings
from metavox_collector.stage import Busy, Stager
from metavox_collector.store import Database, Transaction
from metavox_privacy.report import Report
from metavox_privacy.wire import Rejected
from tests.spans import WEEK, example_report, example_span
from tests.unit.collector.releases import CAP
from tests.waiting import PATIENCE

FOUR_WEEKS = timedelta(weeks=4)
NOW = WEEK.end


@pytest.fixture
def stager(database):
    return Stager(database, FOUR_WEEKS, room=100, metrics=Metrics())


def report(token: bytes = b"token", **changes):
    return replace(example_report(token=token), **changes)


def during(stager: Stager, work: Callable[[], Awaitable[object]]) -> object:
    """What an event loop does while the stager runs."""

    async def go() -> object:
        stager.start()
        try:
            return await work()
        finally:
            await stager.drain()

    return asyncio.run(go())


def stage(stager: Stager, reports, now=NOW):
    return during(stager, lambda: stager.stage(reports, now))


def staged(database: Database):
    with database.read() as transaction:
        return list(transaction.staged_reports(WEEK, "publish"))


def reasons(rejected):
    return [item.reason for item in rejected]


def test_a_report_comes_back_from_the_database_as_it_went_in(database, stager, schema):
    sent = example_report(example_span(), example_span(metavox__request__concurrency=1), schema=schema)
    assert stage(stager, [sent]) == []
    assert staged(database) == [sent]


def test_the_same_report_twice_is_stored_once_and_accepted_twice(database, stager):
    assert stage(stager, [report(), report()]) == []
    assert stage(stager, [report()]) == []
    assert len(staged(database)) == 1


def test_good_reports_are_stored_beside_bad_ones(database, stager):
    bad = Rejected("unknown_attribute", "an attribute is not in the schema", 3)
    early = report(b"early", week=replace(WEEK, number=WEEK.number + 1))
    told = stage(stager, [bad, early, report(b"good")])
    assert told == [bad, Rejected("week_not_over", "the week is not over", 1)]
    assert [item.report_id for item in staged(database)] == [report(b"good").report_id]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (WEEK.end - timedelta(seconds=1), ["week_not_over"]),
        (WEEK.end, []),
        (WEEK.end + FOUR_WEEKS - timedelta(seconds=1), []),
        (WEEK.end + FOUR_WEEKS, ["week_too_old"]),
    ],
)
def test_a_week_is_open_from_its_end_for_four_weeks(database, stager, now, reason):
    assert reasons(stage(stager, [report()], now)) == reason
    assert len(staged(database)) == (0 if reason else 1)


def test_a_clock_that_goes_back_between_requests_closes_and_opens_a_week(database, stager):
    async def three() -> list[list[str]]:
        moments = [NOW - timedelta(days=1), NOW, NOW - timedelta(days=1)]
        return [reasons(await stager.stage([report(bytes([i]))], now)) for i, now in enumerate(moments)]

    assert during(stager, three) == [["week_not_over"], [], ["week_not_over"]]
    assert len(staged(database)) == 1


def test_production_takes_no_synthetic_report(database, stager):
    assert reasons(stage(stager, [report(synthetic=True)])) == ["synthetic"]
    assert staged(database) == []


def test_a_sandbox_takes_synthetic_reports(url, schema):
    database = Database.create(url, schema, sandbox=True, yearly_cap=CAP)
    assert stage(Stager(database, FOUR_WEEKS, room=9, metrics=Metrics()), [report(synthetic=True)]) == []
    assert [item.synthetic for item in staged(database)] == [True]
    database.dispose()


def test_a_purpose_that_was_not_granted_is_not_read_back(database, stager):
    stage(stager, [report(purposes=frozenset({"improve"}))])
    assert staged(database) == []


def test_requests_that_arrive_together_share_a_transaction_and_are_all_told(database, stager, monkeypatch):
    transactions = []
    real = Database.staging
    monkeypatch.setattr(Database, "staging", lambda self, weeks: transactions.append(weeks) or real(self, weeks))
    reports = [report(bytes([i])) for i in range(64)]

    async def together() -> list[list[Rejected]]:
        return await asyncio.gather(*(stager.stage(reports[i : i + 4], NOW) for i in range(0, 64, 4)))

    assert during(stager, together) == [[]] * 16
    assert (len(staged(database)), transactions) == (64, [{WEEK}])


def test_a_request_that_the_database_cannot_take_spoils_no_other(database, stager, monkeypatch):
    class Poisoned(Exception):
        pass

    def picky(transaction: Transaction, given: list[Report]) -> int:
        if any(item.report_id == report(b"\x05").report_id for item in given):
            raise Poisoned
        return real(transaction, given)

    real = Transaction.add_reports
    monkeypatch.setattr(Transaction, "add_reports", picky)

    async def together() -> list[object]:
        sent = (stager.stage([report(bytes([i]))], NOW) for i in range(9))
        return await asyncio.gather(*sent, return_exceptions=True)

    told = during(stager, together)
    assert isinstance(told, list)
    assert [type(outcome) for outcome in told] == [list] * 5 + [Poisoned] + [list] * 3
    assert len(staged(database)) == 8


def test_whatever_goes_wrong_around_a_commit_is_told_and_the_next_report_is_taken(database, stager, monkeypatch):
    def fails(_reports: int) -> None:
        raise RuntimeError("counting failed")

    async def work() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(stager._metrics, "group", fails)
            with pytest.raises(RuntimeError, match="counting failed"):
                await asyncio.wait_for(stager.stage([report()], NOW), PATIENCE)
        assert await asyncio.wait_for(stager.stage([report()], NOW), PATIENCE) == []

    during(stager, work)
    assert len(staged(database)) == 1


def test_what_there_is_no_room_for_is_refused_and_the_rest_is_stored(database):
    stager = Stager(database, FOUR_WEEKS, room=5, metrics=Metrics())

    async def together() -> list[object]:
        sent = [stager.stage([report(bytes([i, j])) for j in range(2)], NOW) for i in range(4)]
        told = await asyncio.gather(*sent, return_exceptions=True)
        assert not stager.is_full
        return [type(outcome) for outcome in told]

    assert during(stager, together) == [list, list, Busy, Busy]
    assert len(staged(database)) == 4


def test_one_request_that_is_larger_than_the_room_is_taken_when_it_is_alone(database):
    stager = Stager(database, FOUR_WEEKS, room=1, metrics=Metrics())
    assert stage(stager, [report(bytes([i])) for i in range(3)]) == []
    assert len(staged(database)) == 3


def test_what_was_given_before_the_end_is_committed_before_it(database, stager):
    async def go() -> list[Rejected]:
        stager.start()
        sent = asyncio.ensure_future(stager.stage([report()], NOW))
        await asyncio.sleep(0)
        await stager.drain()
        assert sent.done()
        return await sent

    assert asyncio.run(go()) == []
    assert len(staged(database)) == 1


def test_a_sender_that_waits_no_more_does_not_keep_its_report_from_being_stored(database, stager):
    async def go() -> None:
        sent = asyncio.ensure_future(stager.stage([report()], NOW))
        await asyncio.sleep(0)
        sent.cancel()
        await asyncio.gather(sent, return_exceptions=True)

    during(stager, go)
    assert len(staged(database)) == 1
    assert not stager.is_full


def test_a_deletion_beside_its_own_delivery_wins(database, stager):
    async def together() -> list[object]:
        sent = report()
        return await asyncio.gather(stager.stage([sent], NOW), stager.delete(b"token", NOW))

    rejected, was_staged = during(stager, together)
    assert (reasons(rejected), was_staged) == (["deleted"], False)
    assert staged(database) == []


def test_a_locked_database_is_told_and_stores_nothing(url, schema, database):
    impatient = Database.create(url, schema, sandbox=False, yearly_cap=CAP, busy_timeout=0.05)
    with database.write(), pytest.raises(StoreUnavailable):
        stage(Stager(impatient, FOUR_WEEKS, room=9, metrics=Metrics()), [report()])
    impatient.dispose()
    assert staged(database) == []


def test_a_week_that_is_being_closed_keeps_no_other_week_waiting(postgres_url, schema):
    database = Database.create(postgres_url, schema, sandbox=False, yearly_cap=CAP)
    stager = Stager(database, FOUR_WEEKS, room=9, metrics=Metrics())
    other = replace(WEEK, number=WEEK.number - 1)

    async def together() -> list[object]:
        sent = (report(b"closing"), report(b"open", week=other))
        return await asyncio.gather(*(stager.stage([one], NOW) for one in sent), return_exceptions=True)

    with database.closing(WEEK):
        told = during(stager, together)
    assert isinstance(told, list)
    assert isinstance(told[0], StoreUnavailable)
    assert (told[1], staged(database)) == ([], [])
    with database.read() as transaction:
        assert len(list(transaction.staged_reports(other, "publish"))) == 1
    database.dispose()


def test_the_default_agrees_with_the_window_tested_here(url):
    assert Settings(db=url).accepted_for == FOUR_WEEKS


def test_nobody_can_configure_a_longer_keeping_than_people_were_promised(url):
    with pytest.raises(ValueError, match="accept_weeks"):
        Settings(db=url, accept_weeks=5)
