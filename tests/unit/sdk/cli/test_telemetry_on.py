from __future__ import annotations

import json
from pathlib import Path

import pytest

from metavox.cli import console
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import Answer
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.cli.shared import count_last_week, run


def answer_in(home: Path) -> Answer:
    given = parse_receipt((home / "consent.json").read_text())
    assert given is not None
    return given


@pytest.mark.parametrize("verb", ["on", "authorize"])
@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=str)
def test_without_a_terminal_nothing_says_yes_for_anybody(home: Path, verb: str, arguments: list[str]):
    result = run(home, "telemetry", verb, *arguments, typed="y\ny\n")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "metavox: a yes needs a person at a terminal\n"
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("typed", "purposes"),
    [("y\ny\n", {"improve", "publish"}), ("\ny\n", {"publish"}), ("y\n\n", {"improve"}), ("\n\n", set())],
)
def test_on_asks_for_each_purpose_by_itself(home: Path, typed: str, purposes: set[str]):
    result = run(home, "telemetry", "on", typed=typed)

    assert result.exit_code == 0
    assert "SOLD" in result.stderr
    assert answer_in(home).purposes == purposes


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("typed", ["", "y\n"], ids=["at once", "after the first answer"])
def test_the_end_of_input_at_on_leaves_a_new_user_without_a_file(home: Path, typed: str):
    result = run(home, "telemetry", "on", typed=typed)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing was answered, so everything is as it was" in result.stderr
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
def test_ctrl_c_at_on_leaves_the_earlier_yes_and_its_counts(home: Path, monkeypatch: pytest.MonkeyPatch):
    count_last_week(home)
    before = {path.name: path.read_bytes() for path in home.iterdir()}

    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "read_line", interrupted)

    assert run(home, "telemetry", "on").exit_code == 1
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


@pytest.mark.usefixtures("terminal")
def test_on_records_the_purposes_alone_that_were_named(home: Path):
    result = run(home, "telemetry", "on", "--purpose", "improve")
    given = answer_in(home)

    assert result.exit_code == 0
    assert "SOLD" in result.stderr
    assert "On from now to improve; not to publish." in result.stdout
    assert "replaces" not in result.stdout
    assert given.purposes == {"improve"}
    assert (given.notice, given.schema_version) == (notice_hash(SCHEMA), SCHEMA.version)


@pytest.mark.usefixtures("terminal")
def test_on_speaks_italian_to_an_italian_and_records_that_it_did(home: Path):
    result = run(home, "telemetry", "on", typed="s\n\n", LANG="it_IT.UTF-8")
    given = answer_in(home)

    assert "VENDUTI" in result.stderr
    assert "[s/N]" in result.stderr
    assert "Acceso da ora per improve; non per publish." in result.stdout
    assert (given.purposes, given.language) == ({"improve"}, "it")
    assert given.notice == notice_hash(SCHEMA, "it")
    assert Home(home, home).consent({}).granted


@pytest.mark.usefixtures("terminal")
def test_on_notes_the_collector_that_was_named_and_no_password(home: Path):
    run(home, "telemetry", "on", "--purpose", "improve", METAVOX_COLLECTOR_URL="https://collector.example")
    assert answer_in(home).collector == "https://collector.example"

    run(
        home, "telemetry", "on", "--purpose", "improve", METAVOX_COLLECTOR_URL="https://me:secret@collector.example"
    )
    assert answer_in(home).collector is None


@pytest.mark.usefixtures("terminal")
def test_on_says_that_another_yes_ends_the_earlier_one_and_its_counts(home: Path):
    count_last_week(home)
    said = run(home, "telemetry", "on", "--purpose", "improve").stdout

    assert "On from now to improve; not to publish." in said
    assert "This replaces the earlier yes; what was counted under that one is never sent." in said
    assert "counted under an earlier yes: it is never sent" in run(home, "telemetry", "journal").stdout
    assert run(home, "telemetry", "preview").stderr == "Nothing would be sent: no counts.\n"
    assert run(home, "telemetry", "preview", "--json").stdout == "null\n"


@pytest.mark.usefixtures("terminal")
def test_on_in_json_says_the_same(home: Path):
    count_last_week(home)
    facts = json.loads(run(home, "telemetry", "on", "--purpose", "improve", "--json").stdout)

    assert facts == {"purposes": ["improve"], "on": True, "rule": "the recorded consent", "replaces_a_yes": True}


@pytest.mark.usefixtures("terminal")
def test_on_refuses_a_purpose_that_does_not_exist(home: Path):
    result = run(home, "telemetry", "on", "--purpose", "improve", "--purpose", "sell")

    assert result.exit_code == 2
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
def test_on_says_when_the_environment_still_holds_it_off(home: Path):
    said = run(home, "telemetry", "on", "--purpose", "improve", DO_NOT_TRACK="1").stdout

    assert "Here and now it is still off: DO_NOT_TRACK is set." in said


@pytest.mark.usefixtures("terminal")
def test_a_new_yes_removes_the_damaged_journal_that_kept_it_off(home: Path):
    count_last_week(home)
    (home / "journal.sqlite3").rename(home / "journal.sqlite3.damaged")
    assert "Contributions are off: the journal was damaged" in run(home, "telemetry", "status").stdout

    assert "On from now" in run(home, "telemetry", "on", "--purpose", "improve").stdout
    assert [path.name for path in home.iterdir()] == ["consent.json"]
    assert Home(home, home).consent({}).granted


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("verb", ["on", "authorize"])
def test_the_superuser_cannot_answer_in_somebody_elses_home(home: Path, monkeypatch: pytest.MonkeyPatch, verb: str):
    monkeypatch.setattr(Home, "is_foreign", lambda home: True)
    result = run(home, "telemetry", verb, typed="y\ny\n")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "run the same as that user, without sudo" in result.stderr
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
def test_an_answer_that_somebody_gave_meanwhile_stands(home: Path, monkeypatch: pytest.MonkeyPatch):
    def answered_elsewhere() -> str:
        monkeypatch.setattr(console, "read_line", lambda: "y\n")
        run(home, "telemetry", "off")
        return "y\n"

    monkeypatch.setattr(console, "read_line", answered_elsewhere)
    result = run(home, "telemetry", "on")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "answered meanwhile" in result.stderr
    assert answer_in(home).purposes == frozenset()


@pytest.mark.usefixtures("terminal")
def test_on_in_a_home_that_cannot_be_written_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file" / "home", "telemetry", "on", "--purpose", "improve")

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("metavox: ")
    assert result.stdout == ""
