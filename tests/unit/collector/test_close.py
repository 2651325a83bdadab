from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from metavox_collector.app import create_app
from metavox_collector.close import close_week, require_intact
from metavox_collector.errors import NotAllowed, StoreUnavailable, TooEarly, TooLate, WrongDatabase
from metavox_collector.fold.sql import fold_week
from metavox_collector.fold.sums import Sums
from metavox_collector.settings import Settings
from metavox_collector.store import Database, Transaction
from metavox_privacy.budget import AlreadyReleased, BudgetExhausted, LedgerBroken, verify
from metavox_privacy.fields import Scope
from metavox_privacy.scope import FULL_FROM
from metavox_privacy.week import Week
from tests.spans import WEEK, example_report
from tests.unit.collector.releases import AFTER, CAP, NEXT, PLENTY, everything, generous, released, stage_fleet


def test_a_closed_week_is_released_for_both_purposes_and_paid_for(database, url):
    closed = released(database, url)
    assert [release.purpose for release in closed.releases] == ["improve", "publish"]
    with database.read() as transaction:
        entries = transaction.ledger()
    verify(entries)
    assert [(entry.week, entry.purpose, entry.nano_rho) for entry in entries] == [
        (WEEK, "improve", PLENTY),
        (WEEK, "publish", PLENTY),
    ]
    assert closed.budget_left == 2 * PLENTY


def test_a_release_comes_back_from_the_database_as_it_was_made(database, url):
    closed = released(database, url)
    with database.read() as transaction:
        for release in closed.releases:
            labelled = transaction.release(release.week, release.purpose)
            assert labelled is not None
            assert labelled.release == release
            assert labelled.synthetic is False


def test_the_figures_are_those_of_the_fleet(database, url):
    table = released(database, url).releases[1].tables[0]
    assert table.name == "performance"
    (cell,) = table.cells
    assert cell.key == ("CPU x86-64 AVX-512", "metavox/tiny", "bfloat16", "5-16")
    assert cell.contributors == 60
    failed = cell.histograms["error_rate"][1] / sum(cell.histograms["error_rate"])
    assert failed == pytest.approx(1 / 3, abs=0.02)


def test_no_staged_row_is_left_and_no_byte_of_one(database, url, tmp_path: Path, request):
    stage_fleet(database)
    names = {row.report_id for row in everything(database)["staged_cell"]}
    files = tmp_path if database.dialect == "sqlite" else request.getfixturevalue("postgres").folder / "data/base"
    assert bytes_of(database, files).count(min(names))
    close_week(database, WEEK, generous(url), now=AFTER)
    assert everything(database)["staged_cell"] == []
    left = bytes_of(database, files)
    assert not [name for name in names if name in left]


def bytes_of(database: Database, files: Path) -> bytes:
    """All that is in a database's files; of PostgreSQL without its log, of which the operator is told."""
    database.scrub()
    if database.dialect == "postgresql":
        with database.write() as transaction:
            transaction.connection.exec_driver_sql("CHECKPOINT")
    return b"".join(path.read_bytes() for path in files.rglob("*") if path.is_file())


def test_another_weeks_reports_stay(database, url):
    stage_fleet(database)
    later = replace(example_report(token=b"later", schema=database.schema), week=Week(2026, 48))
    with database.write() as transaction:
        transaction.add_reports([later])
    close_week(database, WEEK, generous(url), now=AFTER)
    with database.read() as transaction:
        assert list(transaction.staged_reports(later.week, "publish")) == [later]


def test_a_report_without_the_purpose_is_not_in_its_release(database, url):
    stage_fleet(database, 60)
    improve_only = [
        replace(example_report(token=bytes([i]), schema=database.schema), purposes=frozenset({"improve"}))
        for i in range(40)
    ]
    with database.write() as transaction:
        transaction.add_reports(improve_only)
    closed = close_week(database, WEEK, generous(url), now=AFTER)
    assert [release.tables[0].cells[0].contributors for release in closed.releases] == [100, 60]


class BrokenDatabase(Database):
    """A database that fails once everything is done, before it is committed."""

    @contextmanager
    def closing(self, week: Week) -> Iterator[Transaction]:
        with super().closing(week) as transaction:
            yield transaction
            assert transaction.release(week, "publish") is not None
            assert len(transaction.ledger()) == 2
            assert list(transaction.staged_rows(week)) == []
            raise RuntimeError("the power went")


@pytest.fixture
def broken(url, schema) -> Iterator[Database]:
    opened = BrokenDatabase.existing(url, schema)
    yield opened
    opened.dispose()


def test_a_close_that_fails_at_its_end_has_done_nothing(database, broken, url):
    stage_fleet(database)
    before = everything(database)
    with pytest.raises(RuntimeError, match="the power went"):
        close_week(broken, WEEK, generous(url), now=AFTER)
    assert everything(database) == before
    assert len(before["staged_cell"]) == 60


def test_a_week_is_closed_once(database, url):
    released(database, url)
    before = everything(database)
    with pytest.raises(AlreadyReleased, match="once, ever"):
        close_week(database, WEEK, generous(url), now=AFTER)
    assert everything(database) == before


def test_whoever_stages_after_the_close_is_told_that_the_week_is_closed(database, url):
    released(database, url)
    with database.staging([WEEK]) as transaction:
        assert transaction.closed_weeks() == {WEEK}


def test_a_week_whose_reports_are_kept_no_more_is_not_closed_and_spends_nothing(database, url):
    chosen = Settings(db=url, accept_weeks=3)
    with pytest.raises(TooLate, match="were kept until 2026-12-14 00:00 UTC"):
        close_week(database, WEEK, chosen, now=WEEK.end + timedelta(weeks=3))
    with database.read() as transaction:
        assert transaction.ledger() == []
    assert close_week(database, WEEK, chosen, now=WEEK.end + timedelta(weeks=3, seconds=-1)).releases


def test_a_week_is_not_closed_before_its_grace_is_over(database, url):
    stage_fleet(database)
    with pytest.raises(TooEarly, match="can be closed from 2026-12-03 00:00 UTC on"):
        close_week(database, WEEK, generous(url), now=AFTER - timedelta(seconds=1))
    assert len(everything(database)["staged_cell"]) == 60
    assert close_week(database, WEEK, generous(url), now=AFTER).releases


def test_a_spent_budget_closes_nothing(database, url):
    close_week(database, Week(2026, 46), generous(url), now=AFTER)
    stage_fleet(database)
    before = everything(database)
    poor = generous(url, yearly_cap_nano_rho=4 * PLENTY - 1)
    with pytest.raises(BudgetExhausted, match="the next year has a new budget"):
        close_week(database, WEEK, poor, now=AFTER)
    assert everything(database) == before


def test_the_yearly_cap_a_database_was_born_with_is_never_raised(database, url, schema):
    stage_fleet(database)
    before = everything(database)
    rich = generous(url, yearly_cap_nano_rho=CAP + 1)
    with pytest.raises(NotAllowed, match=f"made with a yearly cap of {CAP} nano-rho"):
        close_week(database, WEEK, rich, now=AFTER)
    with pytest.raises(NotAllowed, match="can be lowered and never raised"):
        create_app(rich, schema=schema)
    assert everything(database) == before


def test_a_lower_yearly_cap_than_the_databases_is_the_one_that_counts(database, url):
    lower = generous(url, yearly_cap_nano_rho=3 * PLENTY)
    assert close_week(database, WEEK, lower, now=AFTER).budget_left == PLENTY
    with database.read() as transaction:
        assert {entry.yearly_cap for entry in transaction.ledger()} == {3 * PLENTY}


def test_the_hash_in_the_ledger_is_that_of_the_rows_that_are_kept(database, url):
    closed = close_week(database, WEEK, Settings(db=url), now=AFTER)
    stage_fleet(database, week=NEXT)
    generously = close_week(database, NEXT, generous(url), now=AFTER + timedelta(weeks=1))
    assert everything(database)["released_cell"]
    with database.read() as transaction:
        for entry, made in zip(transaction.ledger(), (*closed.releases, *generously.releases), strict=True):
            kept = transaction.release(entry.week, entry.purpose)
            assert kept is not None
            assert kept.release.sha256 == made.sha256 == entry.release
        require_intact(transaction)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE released_cell SET contributors = contributors + 1",
        "UPDATE released_table SET threshold = 1",
        "UPDATE release SET synthetic = true",
        "DELETE FROM released_cell WHERE purpose = 'improve'",
    ],
)
def test_no_week_is_closed_when_what_is_kept_of_an_older_one_was_altered(database, url, change):
    released(database, url)
    with database.write() as transaction:
        transaction.connection.exec_driver_sql(change)
    stage_fleet(database, week=NEXT)
    before = everything(database)
    with pytest.raises(LedgerBroken, match="what is kept of 2026-W47 for 'improve' is not what was released"):
        close_week(database, NEXT, generous(url), now=AFTER + timedelta(weeks=1))
    assert everything(database) == before


def test_production_closes_no_week_of_which_a_simulated_report_is_staged(database, url):
    stage_fleet(database)
    later = example_report(token=b"simulated", schema=database.schema, synthetic=True)
    with database.write() as transaction:
        transaction.add_reports([later])  # as only a tampered database holds it
    before = everything(database)
    with pytest.raises(WrongDatabase, match="simulated reports are staged in a database for production"):
        close_week(database, WEEK, generous(url), now=AFTER)
    assert everything(database) == before


def test_a_staged_row_that_is_no_cell_of_the_schema_closes_nothing(database, url):
    stage_fleet(database)
    with database.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE staged_cell_202647 SET histograms = cell")
    before = everything(database)
    with pytest.raises(WrongDatabase, match=r"what is staged holds .*: the database was altered; nothing was done"):
        close_week(database, WEEK, generous(url), now=AFTER)
    assert everything(database) == before


def test_closing_a_week_destroys_older_ones_that_nobody_closed_in_time(database, url):
    stage_fleet(database)
    stage_fleet(database, week=NEXT)
    in_time = NEXT.end + timedelta(weeks=4) - timedelta(seconds=1)
    assert close_week(database, NEXT, generous(url), now=in_time).releases[0].tables[0].cells
    assert everything(database)["staged_cell"] == []


def test_closing_a_week_at_the_last_moment_does_not_destroy_it_first(database, url):
    stage_fleet(database)
    late = WEEK.end + timedelta(weeks=4, seconds=-1)
    assert close_week(database, WEEK, generous(url), now=late).releases[0].tables[0].cells


def test_a_week_that_nobody_reported_is_closed_and_paid_for(database, url):
    closed = close_week(database, WEEK, Settings(db=url), now=AFTER)
    assert closed.budget_left == 901_000_000 - 17_000_000
    assert len(everything(database)["ledger"]) == 2


def test_a_year_of_weeks_fits_the_default_budget(url):
    settings = Settings(db=url)
    assert 53 * (settings.publish_nano_rho + settings.improve_nano_rho) <= settings.yearly_cap_nano_rho


@pytest.fixture
def impatient(url, database) -> Iterator[Database]:
    opened = Database.existing(url, database.schema, busy_timeout=0.05)
    yield opened
    opened.dispose()


def test_nobody_stages_a_report_of_a_week_that_is_being_closed(database, impatient, url):
    def fold(transaction: Transaction, week: Week, scope: Scope) -> Sums:
        with pytest.raises(StoreUnavailable), impatient.staging([week]):
            pytest.fail("staged")
        return fold_week(transaction, week, scope)

    assert close_week(database, WEEK, generous(url), now=AFTER, fold=fold).releases


def test_reports_of_other_weeks_are_staged_meanwhile_on_postgresql_alone(database, impatient, url):
    later = replace(example_report(token=b"later", schema=database.schema), week=NEXT)

    def fold(transaction: Transaction, week: Week, scope: Scope) -> Sums:
        if database.dialect == "sqlite":
            with pytest.raises(StoreUnavailable), impatient.staging([NEXT]):
                pytest.fail("SQLite knows one writer")
        else:
            with impatient.staging([NEXT]) as staging:
                assert staging.add_reports([later]) == 1
        return fold_week(transaction, week, scope)

    assert close_week(database, WEEK, generous(url), now=AFTER, fold=fold).releases
    with database.read() as transaction:
        assert list(transaction.staged_reports(NEXT, "publish")) == [later] * (database.dialect == "postgresql")


def test_another_close_meanwhile_is_sent_away(database, impatient, url):
    def fold(transaction: Transaction, week: Week, scope: Scope) -> Sums:
        for other in (week, NEXT):  # of the same week, or of another that pays from the same ledger
            with pytest.raises(StoreUnavailable), impatient.closing(other):
                pytest.fail("two closes at a time")
        return fold_week(transaction, week, scope)

    assert close_week(database, WEEK, generous(url), now=AFTER, fold=fold).releases


def test_what_a_sandbox_releases_is_labelled(url, schema):
    sandbox = Database.create(url, schema, sandbox=True, yearly_cap=CAP)
    assert released(sandbox, url, synthetic=True).synthetic is True
    with sandbox.read() as transaction:
        assert [summary.synthetic for summary in transaction.release_summaries("publish")] == [True]
    sandbox.dispose()


FOUR = {"cadence_weeks": 4, "grace_days": 6}
FIRST = Week(2026, 44)
PERIOD = [FIRST, Week(2026, 45), Week(2026, 46), WEEK]


def test_four_weeks_are_released_together_and_destroyed_together(database, url):
    for week in PERIOD:
        stage_fleet(database, 30, week=week)
    closed = close_week(database, WEEK, generous(url, **FOUR), now=WEEK.end + timedelta(days=6))
    for release in closed.releases:
        assert (release.week, release.weeks) == (WEEK, 4)
        (cell,) = release.tables[0].cells
        assert cell.contributors == 4 * 30
    with database.read() as transaction:
        assert [transaction.count_staged(week) for week in PERIOD] == [0, 0, 0, 0]
        assert transaction.closed_weeks() == set(PERIOD)
        assert transaction.release(WEEK, "publish").release == closed.releases[1]
    with pytest.raises(AlreadyReleased, match="2026-W44"):
        close_week(database, FIRST, generous(url), now=FIRST.end + timedelta(days=10))


def test_a_week_in_the_middle_of_four_is_told_with_which_it_is_released(database, url):
    for week in PERIOD[:-1]:
        with pytest.raises(NotAllowed, match=f"{week} is within those that end with {WEEK}"):
            close_week(database, week, generous(url, **FOUR), now=WEEK.end + timedelta(days=6))


@pytest.mark.parametrize(
    ("when", "refusal"), [(WEEK.end + timedelta(days=5), TooEarly), (WEEK.end + timedelta(days=7), TooLate)]
)
def test_four_weeks_are_closed_while_the_reports_of_the_first_one_are_kept(database, url, when, refusal):
    stage_fleet(database, week=FIRST)
    with pytest.raises(refusal):
        close_week(database, WEEK, generous(url, **FOUR), now=when)
    with database.read() as transaction:
        assert transaction.count_staged(FIRST) == 60


def test_four_weeks_that_would_be_closed_too_late_are_refused_as_settings(url):
    for given in ({"cadence_weeks": 4}, {"cadence_weeks": 4, "grace_days": 6, "accept_weeks": 3}):
        with pytest.raises(ValueError, match="four weeks can be released together only while"):
            Settings(db=url, **given)


def test_a_fleet_is_cut_coarsely_until_it_has_shown_its_size(database, url):
    stage_fleet(database, 60)
    first = close_week(database, WEEK, generous(url, scope="auto"), now=AFTER)
    assert [release.scope for release in first.releases] == ["coarse", "coarse"]
    assert first.releases[1].tables[0].dimensions == ("accelerator", "model")
    again = close_week(database, NEXT, generous(url, scope="auto"), now=AFTER + timedelta(weeks=1))
    assert again.releases[1].scope == "coarse"


@pytest.mark.parametrize(("last", "staged", "scope"), [(30, 90, "coarse"), (90, 30, "full")])
def test_how_finely_is_cut_says_nothing_of_what_is_staged(database, url, monkeypatch, last, staged, scope):
    monkeypatch.setattr("metavox_privacy.scope.FULL_FROM", 60)
    stage_fleet(database, last)
    close_week(database, WEEK, generous(url, scope="auto"), now=AFTER)
    stage_fleet(database, staged, week=NEXT)
    closed = close_week(database, NEXT, generous(url, scope="auto"), now=AFTER + timedelta(weeks=1))
    assert [release.scope for release in closed.releases] == [scope, scope]


def test_a_large_fleet_is_cut_finely_the_week_after(database, url, monkeypatch):
    monkeypatch.setattr("metavox_privacy.scope.FULL_FROM", 60)
    assert FULL_FROM == 10_000
    stage_fleet(database, 70)
    close_week(database, WEEK, generous(url, scope="auto"), now=AFTER)
    stage_fleet(database, 70, week=NEXT)
    closed = close_week(database, NEXT, generous(url, scope="auto"), now=AFTER + timedelta(weeks=1))
    assert closed.releases[1].scope == "full"
    (cell,) = closed.releases[1].tables[0].cells
    assert cell.key == ("CPU x86-64 AVX-512", "metavox/tiny", "bfloat16", "5-16")
