"""A release that is corrected or withdrawn: what is said of it then, and that everything else goes on."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from metavox_collector.clock import fixed
from metavox_collector.close import close_week, keep_file, require_intact
from metavox_collector.correct import correct_release
from metavox_collector.dataset.statement import statement_of
from metavox_collector.errors import NotReleased, ReleaseRefused, StoreUnavailable
from metavox_collector.operate.backup import back_up
from metavox_collector.operate.check import check
from metavox_collector.operate.restore import restore
from metavox_collector.pack.publisher import SANDBOX
from metavox_collector.pack.release import kept
from metavox_collector.store import Database
from metavox_privacy.budget import AlreadyReleased, LedgerBroken, spent_in, verify
from metavox_privacy.week import Week
from tests.postgres import binaries
from tests.spans import WEEK
from tests.unit.collector.releases import AFTER, NEXT, PLENTY, everything, generous, released, stage_fleet
from tests.unit.collector.test_app import ask, make_app  # noqa: F401  # make_app is a fixture

LATEST = "/v1/releases/latest"
LATER = AFTER + timedelta(weeks=1)


@pytest.fixture
def two(database, url) -> Database:
    """A database with two weeks released."""
    released(database, url)
    stage_fleet(database, 40, week=NEXT)
    close_week(database, NEXT, generous(url), now=LATER)
    return database


@pytest.fixture
def app(make_app, url, schema, two):  # noqa: F811
    return make_app(generous(url), clock=fixed(LATER), schema=schema)


def test_a_correction_is_one_more_entry_that_costs_nothing_and_draws_nothing(two):
    before = everything(two)
    entry = correct_release(two, NEXT, "publish", "figures corrected")
    after = everything(two)
    assert [name for name in after if after[name] != before[name]] == ["ledger"]
    with two.read() as transaction:
        history = transaction.ledger()
        require_intact(transaction)
    verify(history)
    assert history[-1] == entry
    assert (entry.sequence, entry.nano_rho, entry.reason) == (5, 0, "figures corrected")
    assert entry.release == history[3].release
    assert spent_in(history, NEXT.year) == 4 * PLENTY


def test_weeks_are_closed_after_a_correction_and_the_corrected_one_never_again(two, url):
    correct_release(two, NEXT, "publish", "withdrawn")
    with pytest.raises(AlreadyReleased, match="once, ever"):
        close_week(two, NEXT, generous(url), now=LATER)
    new_year = Week(2027, 1)  # for the budget of 2026 is spent, also by what was withdrawn
    closed = close_week(two, new_year, generous(url), now=new_year.end + timedelta(days=10))
    assert {release.week for release in closed.releases} == {new_year}


def test_what_is_withdrawn_is_not_answered_any_more_but_the_one_before(two, app):
    assert ask(app, "GET", LATEST).json()["week"] == str(NEXT)
    correct_release(two, NEXT, "publish", "withdrawn")
    assert ask(app, "GET", LATEST).json()["week"] == str(WEEK)
    correct_release(two, WEEK, "publish", "withdrawn")
    response = ask(app, "GET", LATEST)
    assert (response.status_code, response.json()) == (404, {"error": "nothing is released yet"})


def test_the_maintainers_release_is_withdrawn_by_itself(two, app):
    correct_release(two, NEXT, "improve", "withdrawn")
    assert ask(app, "GET", LATEST).json()["week"] == str(NEXT)
    with pytest.raises(ReleaseRefused, match="was withdrawn by ledger entry 5"):
        kept(two, NEXT, "improve")
    assert kept(two, NEXT, "publish").labelled.release.week == NEXT


def test_figures_that_were_wrong_are_estimated_anew_and_what_is_answered_with_them(two, app, monkeypatch):
    first = ask(app, "GET", LATEST)
    monkeypatch.setattr("metavox_collector.dataset.newest.NOTE", "figures of other software")
    keep_file(two)
    assert ask(app, "GET", LATEST).content == first.content
    correct_release(two, NEXT, "publish", "documents corrected")
    assert ask(app, "GET", LATEST).content == first.content
    correct_release(two, NEXT, "publish", "figures corrected")
    again = ask(app, "GET", LATEST, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.json()["note"]) == (200, "figures of other software")


def test_a_file_that_is_made_while_its_release_is_withdrawn_is_not_kept(two, app, monkeypatch):
    with two.write() as transaction:
        transaction.drop_file(NEXT, "publish")
    made = []

    def withdrawn_meanwhile(labelled, schema):
        made.append(labelled.release.week)
        if len(made) == 1:
            correct_release(two, NEXT, "publish", "withdrawn")
        return b"figures"

    monkeypatch.setattr("metavox_collector.close.zipped_file", withdrawn_meanwhile)
    keep_file(two)
    assert made == [NEXT, WEEK]
    with two.read() as transaction:
        assert transaction.newest_file("publish") == (WEEK, b"figures")


def test_a_withdrawn_release_is_listed_as_what_it_is(two, app):
    correct_release(two, WEEK, "publish", "figures corrected")
    correct_release(two, WEEK, "publish", "withdrawn")
    correct_release(two, NEXT, "improve", "withdrawn")
    first, second = ask(app, "GET", "/v1/datasets").json()["datasets"]
    assert (first["withdrawn"], first["corrections"]) == (True, ["figures corrected", "withdrawn"])
    assert (second["withdrawn"], second["corrections"]) == (False, [])


def test_no_pack_is_written_of_a_withdrawn_release_and_one_of_a_corrected_one_is(two):
    correct_release(two, NEXT, "publish", "documents corrected")
    found = kept(two, NEXT, "publish")
    assert statement_of(found.labelled.release, found.history).spent == 4 * PLENTY
    correct_release(two, NEXT, "publish", "withdrawn")
    with pytest.raises(ReleaseRefused, match="was withdrawn by ledger entry 6"):
        kept(two, NEXT, "publish")
    assert kept(two, WEEK, "publish").labelled.release.week == WEEK


def test_the_pack_of_a_corrected_release_says_so_and_that_of_another_is_as_it_was(two):
    before = [kept(two, week, "publish").dataset(SANDBOX, LATER.date()).history for week in (WEEK, NEXT)]
    entry = correct_release(two, NEXT, "publish", "documents corrected")
    after = [kept(two, week, "publish").dataset(SANDBOX, LATER.date()).history for week in (WEEK, NEXT)]
    assert after == [before[0], (*before[1], entry)]


def test_the_statement_of_a_release_never_changes(two):
    with two.read() as transaction:
        release = transaction.release(NEXT, "publish").release
        before = statement_of(release, transaction.ledger())
    correct_release(two, NEXT, "publish", "withdrawn")
    with two.read() as transaction:
        assert statement_of(release, transaction.ledger()) == before


def test_the_last_word_on_a_release_is_that_it_was_withdrawn(two):
    correct_release(two, NEXT, "publish", "withdrawn")
    before = everything(two)
    with pytest.raises(NotReleased, match="was withdrawn, which is the last word on it; nothing was done"):
        correct_release(two, NEXT, "publish", "figures corrected")
    assert everything(two) == before


def test_what_was_never_released_is_not_corrected(two):
    before = everything(two)
    with pytest.raises(NotReleased, match=r"week 2026-W46 has no release for 'publish'; nothing was done"):
        correct_release(two, WEEK.before(1), "publish", "withdrawn")
    assert everything(two) == before


def test_nothing_is_corrected_where_what_is_kept_was_altered(two):
    with two.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE released_table SET threshold = 1")
    before = everything(two)
    with pytest.raises(LedgerBroken, match="is not what was released"):
        correct_release(two, NEXT, "publish", "withdrawn")
    assert everything(two) == before


def test_nothing_is_corrected_while_a_week_is_closed(two, url):
    impatient = Database.existing(url, two.schema, busy_timeout=0.05)
    with two.closing(NEXT), pytest.raises(StoreUnavailable, match="another close is under way; nothing was done"):
        correct_release(impatient, NEXT, "publish", "withdrawn")
    impatient.dispose()
    with two.read() as transaction:
        assert len(transaction.ledger()) == 4


def test_a_scope_is_not_chosen_by_a_withdrawn_release(two, url, monkeypatch):
    seen = []
    monkeypatch.setattr("metavox_collector.close.scope_after", lambda last: [seen.append(last), "coarse"][1])
    correct_release(two, NEXT, "publish", "withdrawn")
    new_year = Week(2027, 1)
    closed = close_week(two, new_year, generous(url, scope="auto"), now=new_year.end + timedelta(days=10))
    assert [last.week for last in seen] == [WEEK]
    assert closed.releases[0].scope == "coarse"


def test_a_correction_is_backed_up_restored_and_checked(two, url, schema, tmp_path: Path, request, monkeypatch):
    monkeypatch.setenv("PATH", f"{binaries()}{os.pathsep}{os.environ['PATH']}")
    entry = correct_release(two, NEXT, "publish", "withdrawn")
    made = back_up(two, generous(url), tmp_path / "backup", with_staged=False)
    assert made.ledger_head == entry.hash
    server = None if url.startswith("sqlite") else request.getfixturevalue("postgres")
    target = f"sqlite:///{tmp_path}/restored.db" if server is None else server.new_database()
    again = restore(generous(target), schema, made.file, head=entry.hash, with_staged=False, now=LATER)
    findings = {finding.about: finding for finding in check(again, generous(target), LATER)}
    assert findings["ledger"].level == "ok"
    assert findings["ledger"].says == f"5 entries, each with what was released; the head is {entry.hash}"
    with again.read() as transaction:
        assert transaction.newest_release("publish") == WEEK
        assert transaction.newest_file("publish")[0] == WEEK
    with pytest.raises(ReleaseRefused):
        kept(again, NEXT, "publish")
    again.dispose()
    if server is not None:
        server.drop(target)
