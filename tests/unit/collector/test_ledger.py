"""The ledger as an operator sees it, and as everybody does."""

from __future__ import annotations

import gzip
import io
import json
import sys
from dataclasses import replace

import pytest

from metavox_collector.cli import main
from metavox_collector.clock import fixed
from metavox_collector.correct import correct_release
from metavox_collector.dataset.account import account, balances
from metavox_collector.proof.raw import ledger_bytes
from metavox_privacy.budget import GENESIS, LedgerEntry, epsilon, verify
from metavox_privacy.week import Week
from tests.spans import WEEK
from tests.unit.collector.releases import AFTER, CAP, PLENTY, generous, released, stage_fleet
from tests.unit.collector.test_app import ask, make_app, numbers  # noqa: F401  # make_app is a fixture

PATH = "/v1/ledger"


def entries(*weeks: tuple[int, int], nano_rho: int = 10**7, together: int = 1) -> list[LedgerEntry]:
    """A ledger with a release for each of these weeks."""
    history: list[LedgerEntry] = []
    for week in weeks:
        facts = {"schema_version": 2, "nano_rho": nano_rho, "yearly_cap": 10**9, "sandbox": False, "reason": ""}
        last = history[-1].hash if history else GENESIS
        history.append(
            LedgerEntry(
                len(history) + 1,
                Week(*week),
                together,
                "publish",
                "full",
                **facts,
                release="ab" * 32,
                previous=last,
            ).sealed()
        )
    return history


def test_each_iso_year_has_a_balance_of_its_own():
    history = entries((2026, 52), (2026, 53), (2027, 1))
    assert [(one.year, one.spent, one.left) for one in balances(history, 10**9)] == [
        (2026, 2 * 10**7, 98 * 10**7),
        (2027, 10**7, 99 * 10**7),
    ]
    assert [(one.year, one.spent, one.left) for one in balances(history, 10**9, 2028)] == [(2028, 0, 10**9)]
    (first, _) = account(history, 10**9)["balance"]
    assert first["rho_spent"] == 0.02
    assert first["epsilon_spent"] == epsilon(2 * 10**7, 1e-8)
    assert first["epsilon_cap"] == epsilon(10**9, 1e-8) > first["epsilon_spent"]


def test_four_weeks_around_new_year_are_in_both_balances():
    (alone,) = entries((2027, 1))
    history = [replace(alone, weeks=4).sealed()]
    assert [(one.year, one.spent) for one in balances(history, 10**9)] == [(2026, 10**7), (2027, 10**7)]
    for year in (2026, 2027):
        assert len(account(history, 10**9, year)["history"]) == 1
    assert account(history, 10**9, 2025)["history"] == []


def test_weeks_of_two_years_that_were_released_together_are_in_the_balance_of_both():
    history = entries((2027, 2), together=4)
    assert [(one.year, one.spent) for one in balances(history, 10**9)] == [(2026, 10**7), (2027, 10**7)]
    for year, number in ((2026, 1), (2027, 1), (2028, 0)):
        assert len(account(history, 10**9, year)["history"]) == number


def test_a_cap_that_was_lowered_below_what_is_spent_leaves_nothing():
    (one,) = balances(entries((2026, 47)), 10**6)
    assert (one.left, one.cap, one.spent) == (0, 10**6, 10**7)


def test_the_entries_are_those_of_a_pack():
    history = entries((2026, 47), (2026, 48))
    assert account(history, 10**9)["history"] == json.loads(ledger_bytes(history))
    assert [entry["sequence"] for entry in account(history, 10**9, 2027)["history"]] == []


@pytest.fixture
def run(monkeypatch, capsys, schema):
    """Runs the program on databases of the small schema; its exit status, and what it said on each stream."""
    monkeypatch.setattr("metavox_collector.cli.ledger.SCHEMA", schema)

    def do(*words):
        monkeypatch.setattr(sys, "argv", ["metavox-collector", "ledger", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        return status, *capsys.readouterr()

    return do


def test_the_verb_prints_the_balance_and_every_entry(run, database, url, monkeypatch):
    monkeypatch.setenv("METAVOX_COLLECTOR_YEARLY_CAP_NANO_RHO", str(CAP))
    status, out, _ = run("--db", url)
    assert (status, out.splitlines()[0]) == (0, "The ledger has 0 entries, and the chain of their hashes holds.")
    released(database, url)
    entry = correct_release(database, WEEK, "publish", "figures corrected")
    status, out, _ = run("--db", url)
    assert status == 0
    assert f"Head: {entry.hash}" in out
    rows = [line.split() for line in out.splitlines()]
    spent = epsilon(2 * PLENTY, 1e-8)
    assert ["2026", "2e+06", "2e+06", "4e+06", f"{spent:.3g}", f"{epsilon(CAP, 1e-8):.3g}"] in rows
    price = [f"{PLENTY / 1e9:g}", f"{epsilon(PLENTY, 1e-8):.3g}"]
    short = [entry.release[:12], entry.hash[:12]]
    assert ["3", "2026-W47", "publish", "full", "0", "0", "figures", "corrected", *short] in rows
    assert [row[:6] + row[6:7] for row in rows if row[:1] == ["2"]] == [
        ["2", "2026-W47", "publish", "full", *price, "released"]
    ]


def test_the_verb_prints_json_of_all_years_or_of_one(run, database, url, monkeypatch):
    monkeypatch.setenv("METAVOX_COLLECTOR_YEARLY_CAP_NANO_RHO", str(3 * PLENTY))
    released(database, url)
    with database.read() as transaction:
        history = transaction.ledger()
    assert json.loads(run("--db", url, "--json")[1]) == account(history, 3 * PLENTY)
    assert json.loads(run("--db", url, "--json", "--year", "2027")[1]) == account(history, 3 * PLENTY, 2027)


def test_the_verb_says_of_a_ledger_that_was_altered_that_it_is_broken(run, database, url):
    released(database, url)
    with database.write() as transaction:
        transaction.connection.exec_driver_sql("UPDATE ledger SET nano_rho = 1 WHERE sequence = 1")
    for words in (("--db", url), ("--db", url, "--json")):
        status, out, err = run(*words)
        assert (status, out) == (1, "")
        assert "ledger entry 1 does not follow from the one before it" in err


def test_a_correction_is_made_by_the_verb_and_named_in_its_words(run, database, url):
    released(database, url)
    words = ("correct", "--db", url, "--week", WEEK, "--yes")
    status, out, _ = run(*words, "--reason", "documents-corrected", "--purpose", "improve")
    assert (status, out.splitlines()[0]) == (
        0,
        "entry 3: the release of 2026-W47 for 'improve' is marked 'documents corrected'",
    )
    status, out, _ = run(*words, "--reason", "withdrawn")
    assert (status, out.splitlines()[0]) == (0, "entry 4: the release of 2026-W47 for 'publish' is withdrawn")
    with database.read() as transaction:
        history = transaction.ledger()
    assert history[-1].hash in out
    assert [entry.reason for entry in history] == ["", "", "documents corrected", "withdrawn"]
    status, out, err = run(*words, "--reason", "figures-corrected")
    assert (status, out) == (1, "")
    assert "was withdrawn, which is the last word on it; nothing was done" in err


@pytest.mark.parametrize(("answer", "status", "length"), [("y\n", 0, 3), ("n\n", 1, 2), ("", 1, 2)])
def test_a_correction_is_asked_about_first(run, database, url, monkeypatch, answer, status, length):
    released(database, url)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    found = run("correct", "--db", url, "--week", WEEK, "--reason", "withdrawn")
    assert found[0] == status
    with database.read() as transaction:
        assert len(transaction.ledger()) == length


def test_no_option_before_a_verb_is_ignored(run, sqlite_url):
    status, _, err = run("--db", sqlite_url, "correct", "--week", WEEK, "--reason", "withdrawn")
    assert status == 2
    assert "give the options after 'correct'" in err


@pytest.fixture
def app(make_app, url, schema, database):  # noqa: F811
    return make_app(generous(url), clock=fixed(AFTER), schema=schema)


def test_everybody_is_answered_the_ledger_as_it_is_kept(app, database, url):
    empty = ask(app, "GET", PATH)
    assert (empty.status_code, empty.json()) == (
        200,
        {"head": GENESIS, "delta": 1e-8, "balance": [], "history": []},
    )
    released(database, url)
    correct_release(database, WEEK, "publish", "withdrawn")
    with database.read() as transaction:
        history = transaction.ledger()
    found = ask(app, "GET", PATH).json()
    assert found == account(history, CAP)
    read = [LedgerEntry(**{**entry, "week": Week.parse(entry["week"])}) for entry in found["history"]]
    verify(read)
    assert (read[-1].hash, read[-1].reason) == (found["head"], "withdrawn")


def test_it_holds_no_count_of_anybody(app, database, url):
    stage_fleet(database, 37, week=WEEK.before(-1))
    released(database, url)
    found = ask(app, "GET", PATH).json()
    assert found.keys() == {"head", "delta", "balance", "history"}
    assert {*found["history"][0]} == {*LedgerEntry.__slots__}
    assert {*found["balance"][0]} == {
        *("year", "rho_spent", "rho_left", "rho_cap", "epsilon_spent", "epsilon_cap"),
    }


def test_it_is_named_by_its_content_and_asked_again_in_no_bytes(app, database, url):
    released(database, url)
    first = ask(app, "GET", PATH, headers={"Accept-Encoding": "identity"})
    assert first.headers["cache-control"] == "public, max-age=3600"
    known = {"If-None-Match": first.headers["etag"]}
    again = ask(app, "GET", PATH, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    head = ask(app, "HEAD", PATH)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
    zipped = ask(app, "GET", PATH, headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(first.content, mtime=0)) == int(zipped.headers["content-length"])
    correct_release(database, WEEK, "publish", "documents corrected")
    assert ask(app, "GET", PATH, headers=known).status_code == 200


def test_it_is_counted_by_its_name_and_cannot_be_written_to(app):
    assert ask(app, "GET", PATH).status_code == 200
    response = ask(app, "POST", PATH)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert 'metavox_collector_requests_total{code="200",route="ledger"} 1.0' in numbers(app)
