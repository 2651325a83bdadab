"""``status`` and what holds for every verb."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from metavox.cli.telemetry.verbs import VERBS
from tests.unit.sdk.cli.shared import LAST_WEEK, SILENT, count_last_week, run

LOOKING = ["status", "preview", "journal", "diff", "receipt", "export", "doctor", "upload"]


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["plain", "json"])
@pytest.mark.parametrize("verb", LOOKING)
def test_looking_makes_no_file_and_opens_no_socket(
    home: Path, monkeypatch: pytest.MonkeyPatch, verb: str, form: list[str]
):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket"))
    result = run(home, "telemetry", verb, *form)

    assert result.exit_code == 0
    assert not home.exists()
    if form:
        json.loads(result.stdout)


@pytest.mark.parametrize("verb", [verb for verb in LOOKING if verb != "upload"])
def test_looking_changes_no_byte_of_what_is_there(home: Path, verb: str):
    count_last_week(home)
    before = {path.name: path.read_bytes() for path in home.iterdir()}

    assert run(home, "telemetry", verb).exit_code == 0
    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_every_verb_has_a_json_form_and_says_what_its_exit_codes_mean(home: Path):
    for verb in VERBS:
        said = run(home, "telemetry", verb.__name__, "--help").stdout
        assert "--json" in said
        assert "Exit: 0 " in said


def test_a_verb_that_does_not_exist_is_a_wrong_call(home: Path):
    assert run(home, "telemetry", "agree").exit_code == 2


def test_status_says_what_decided_and_where_the_files_would_be(home: Path):
    said = run(home, "telemetry", "status").stdout

    assert "Contributions are off: nobody has been asked, or answered." in said
    assert f"none (would be {home / 'consent.json'})" in said
    assert "DO_NOT_TRACK is set" in run(home, "telemetry", "status", DO_NOT_TRACK="1").stdout


def test_status_lists_the_weeks_and_when_each_is_due(home: Path):
    count_last_week(home)
    said = run(home, "telemetry", "status").stdout
    facts = json.loads(run(home, "telemetry", "status", "--json").stdout)

    assert "Contributions are on: the recorded consent." in said
    assert f"{LAST_WEEK} due (to be sent from 20" in said
    assert facts["on"] is True
    assert facts["purposes"] == ["improve", "publish"]
    assert facts["weeks"] == {str(LAST_WEEK): "due"}
    assert facts["due_at"][str(LAST_WEEK)] >= LAST_WEEK.end.isoformat()
    assert facts["journal_file"] == str(home / "journal.sqlite3")


def test_status_tells_of_weeks_that_are_kept_while_the_environment_says_off(home: Path):
    count_last_week(home)

    assert f"Weeks:        {LAST_WEEK} kept" in run(home, "telemetry", "status", DO_NOT_TRACK="1").stdout


def test_status_names_the_telemetry_of_others_and_its_switch(home: Path):
    said = run(home, "telemetry", "status").stdout
    facts = json.loads(run(home, "telemetry", "status", "--json").stdout)

    assert "  huggingface_hub: " in said
    assert "Off: HF_HUB_DISABLE_TELEMETRY=1" in said
    assert [one["library"] for one in facts["others"]] == ["huggingface_hub"]
    switched_off = run(home, "telemetry", "status", HF_HUB_DISABLE_TELEMETRY="1").stdout
    assert "Others here:  none that we know of sends telemetry" in switched_off


def test_status_of_a_journal_that_cannot_be_read_still_says_on_and_touches_nothing(home: Path):
    count_last_week(home)
    (home / "journal.sqlite3").write_bytes(b"garbage" * 1000)
    result = run(home, "telemetry", "status")

    assert result.exit_code == 0
    assert "Contributions are on: the recorded consent." in result.stdout
    assert "cannot be read: file is not a database" in result.stdout
    assert (home / "journal.sqlite3").read_bytes() == b"garbage" * 1000


def test_status_says_off_where_it_may_not_look(home: Path, monkeypatch: pytest.MonkeyPatch):
    def closed(path: Path) -> bool:  # as Python 3.11 answers, where a folder on the way cannot be entered
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", closed)
    result = run(home, "telemetry", "status")

    assert result.exit_code == 0
    assert "Contributions are off" in result.stdout


@pytest.mark.parametrize("verb", ["off", "upload", "status", "journal", "doctor"])
def test_somebody_who_stopped_listening_is_told_nothing(home: Path, verb: str):
    count_last_week(home)
    nobody, output = os.pipe()
    os.close(nobody)
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    done = subprocess.run(
        [sys.executable, "-c", "from metavox.cli import main; main()", "telemetry", verb],
        env={**environment, "METAVOX_HOME": str(home), "DO_NOT_TRACK": "1"},
        stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(output)

    assert (done.returncode, done.stderr) == (1, "")
    assert (home / "journal.sqlite3").exists() is (verb != "off")


def test_without_a_home_folder_status_names_no_file_that_could_never_be():
    said = run(Path("relative"), "telemetry", "status").stdout

    assert "Contributions are off: there is no home folder to keep anything in" in said
    assert said.count("none; there is no home folder, and METAVOX_HOME can name one") == 2
    assert "/dev/null" not in said
