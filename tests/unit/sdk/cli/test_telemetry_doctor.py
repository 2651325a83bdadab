from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
from collections import namedtuple
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox.cli.telemetry.checks import Check, check_all
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import DEPLOYMENT_LASTS, Answer
from metavox_privacy.fields import Purpose
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.cli.shared import LAST_WEEK, count_last_week, run

NOW = datetime.now(timezone.utc)
Usage = namedtuple("Usage", "total used free")


def found(folder: Path, environment: dict[str, str] | None = None, now: datetime = NOW) -> dict[str, Check]:
    """The worst finding of each name."""
    home = Home(folder, folder, folder.parent / "policy.json")
    checks = check_all(home, environment or {}, now)
    return {check.name: check for check in sorted(checks, key=lambda check: check.state == "problem")}


def receipt(
    folder: Path,
    *,
    minted: datetime,
    purposes: frozenset[Purpose] = frozenset({"improve"}),
    collector: str | None = None,
) -> str:
    """The path of a deployment's receipt."""
    given = Answer(purposes, minted, notice_hash(SCHEMA), SCHEMA.version, collector=collector)
    path = folder.parent / "receipt.json"
    path.write_text(
        format_receipt(replace(given, scope="deployment", expires_at=minted + DEPLOYMENT_LASTS)), encoding="utf-8"
    )
    return str(path)


def test_a_new_user_is_well_and_a_person_who_said_yes_is_too(home: Path):
    assert {check.state for check in found(home).values()} <= {"ok", "note"}
    count_last_week(home)
    checks = found(home)

    assert {check.state for check in checks.values()} <= {"ok", "note"}
    assert checks["decision"].said == "on: the recorded consent"
    assert "a yes of" in checks["answer"].said
    assert checks["journal"].said.startswith("whole, 1 week in ")


def test_doctor_prints_a_line_for_each_check_and_ends_with_1_where_there_is_a_problem(home: Path):
    well = run(home, "telemetry", "doctor")
    ill = run(home, "telemetry", "doctor", METAVOX_COLLECTOR_URL="http://collector.example")
    facts = json.loads(run(home, "telemetry", "doctor", "--json", METAVOX_COLLECTOR_URL="ftp://x").stdout)

    assert (well.exit_code, ill.exit_code) == (0, 1)
    assert "ok       decision: off: nobody has been asked, or answered" in well.stdout.splitlines()
    assert "problem  collector: " in ill.stdout
    assert "-> correct METAVOX_COLLECTOR_URL, or unset it" in ill.stdout
    assert facts["ok"] is False
    assert {"name", "state", "said", "do"} == set(facts["checks"][0])


def test_doctor_opens_no_connection(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a look-up"))

    assert found(home, {"METAVOX_COLLECTOR_URL": "https://collector.example"})["collector"].state == "ok"


@pytest.mark.parametrize("content", [b"garbage", b"\xff", b"{}", b""], ids=repr)
def test_a_consent_file_that_is_not_understood_is_a_problem(home: Path, content: bytes):
    home.mkdir()
    (home / "consent.json").write_bytes(content)
    check = found(home)["answer"]

    assert check.state == "problem"
    assert "so contributions are off" in check.said


@pytest.mark.parametrize("name", ["consent.json", "journal.sqlite3"])
def test_a_file_that_others_may_open_is_a_problem(home: Path, name: str):
    count_last_week(home)
    (home / name).chmod(0o644)
    check = found(home)["answer" if name == "consent.json" else "journal"]

    assert (check.state, check.do) == ("problem", f"chmod 600 {home / name}")


def test_a_folder_that_others_may_write_to_is_a_problem(home: Path):
    home.mkdir()
    home.chmod(0o777)

    assert found(home)["folder"].do == f"chmod 700 {home}"


def test_a_place_where_nothing_can_be_kept_is_a_problem(tmp_path: Path):
    (tmp_path / "file").write_text("")

    assert "METAVOX_HOME" in (found(tmp_path / "file" / "home")["folder"].do or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a file away")
def test_a_journal_of_another_user_is_a_problem(home: Path):
    count_last_week(home)
    os.chown(home / "journal.sqlite3", 12345, 12345)

    assert "belongs to another user" in found(home)["journal"].said


def test_under_sudo_it_says_whose_files_these_are_and_advises_no_other_owner(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    count_last_week(home)
    monkeypatch.setattr(Home, "is_foreign", lambda home: True)
    checks = found(home)

    assert checks["user"].do.startswith("run the same as that user, without sudo;")
    assert not any("chown" in (check.do or "") for check in checks.values())


def test_a_damaged_journal_is_a_problem_before_and_after_it_is_set_aside(home: Path):
    count_last_week(home)
    (home / "journal.sqlite3").write_bytes(b"garbage" * 1000)
    assert found(home)["journal"].state == "problem"
    assert (home / "journal.sqlite3").exists()  # looking sets nothing aside

    (home / "journal.sqlite3").rename(home / "journal.sqlite3.damaged")
    checks = found(home)
    assert checks["damage"].state == "problem"
    assert checks["decision"].said.startswith("off: the journal was damaged")


def test_a_journal_whose_pages_disagree_is_a_problem(home: Path):
    count_last_week(home)
    sql = sqlite3.connect(home / "journal.sqlite3")
    sql.execute("PRAGMA writable_schema = ON")
    sql.execute("UPDATE sqlite_master SET rootpage = 2")
    sql.commit()
    sql.close()

    assert found(home)["journal"].state == "problem"


def test_a_full_disk_is_a_problem(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**30, 2**30 - 4096, 4096))
    check = found(home)["disk"]

    assert (check.state, check.said) == ("problem", "4 KiB are left where the journal is")


def test_a_clock_that_runs_behind_is_a_problem(home: Path):
    count_last_week(home)

    assert found(home)["clock"].state == "ok"
    assert "before the answer" in found(home, now=NOW - timedelta(days=60))["clock"].said
    assert (
        "before the day this release was installed"
        in found(home.parent / "x", now=NOW - timedelta(days=9999))["clock"].said
    )


def test_a_deployments_receipt_is_checked_by_itself(home: Path, tmp_path: Path):
    on = {"METAVOX_TELEMETRY": "on"}
    fresh = {"METAVOX_TELEMETRY_RECEIPT": receipt(home, minted=NOW)}
    assert found(home, {**on, **fresh})["deployment receipt"].state == "ok"
    assert found(home, fresh)["deployment receipt"].do == "set METAVOX_TELEMETRY=on beside it"

    old = {"METAVOX_TELEMETRY_RECEIPT": receipt(home, minted=NOW - timedelta(days=400))}
    assert "has expired" in found(home, {**on, **old})["deployment receipt"].said
    here = {"METAVOX_TELEMETRY_RECEIPT": receipt(home, minted=NOW, collector="https://one.example")}
    elsewhere = {"METAVOX_COLLECTOR_URL": "https://another.example"}
    assert found(home, {**on, **here})["deployment receipt"].state == "ok"
    assert "names another collector" in found(home, {**on, **here, **elsewhere})["deployment receipt"].said
    nothing = {"METAVOX_TELEMETRY_RECEIPT": str(tmp_path / "none.json")}
    assert "cannot be read" in found(home, {**on, **nothing})["deployment receipt"].said


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"telemetry": "user"}', "leaves it to the user"), ("{}", "forces contributions off")],
)
def test_the_policy_is_told(home: Path, text: str, said: str):
    (home.parent / "policy.json").write_text(text)

    assert said in found(home)["policy"].said


def test_telemetry_of_others_is_a_note_and_no_problem(home: Path):
    check = found(home)["other telemetry"]

    assert check.state == "note"
    assert check.said.startswith("huggingface_hub sends ")
    assert found(home, {"HF_HUB_DISABLE_TELEMETRY": "1"})["other telemetry"].state == "ok"


def test_a_week_that_waits_is_no_problem(home: Path):
    count_last_week(home)

    assert str(LAST_WEEK) in run(home, "telemetry", "status").stdout
    assert run(home, "telemetry", "doctor").exit_code == 0


def test_without_a_home_folder_it_says_that_one_is_missing_and_nothing_else_of_files(home: Path):
    nowhere = Home.from_environment({"METAVOX_HOME": "relative"})
    checks = {check.name: check for check in check_all(nowhere, {}, NOW)}

    assert checks["folder"].state == "problem"
    assert checks["folder"].do == "METAVOX_HOME can name one, by its whole path"
    assert "no home folder" in checks["decision"].said
    assert not {"answer", "journal", "disk"} & checks.keys()


def test_a_collector_that_is_another_than_at_the_yes_is_a_problem(home: Path):
    home.mkdir()
    given = Answer(
        frozenset({"improve"}), NOW, notice_hash(SCHEMA), SCHEMA.version, collector="https://one.example"
    )
    (home / "consent.json").write_text(format_receipt(given), encoding="utf-8")

    another = found(home, {"METAVOX_COLLECTOR_URL": "https://another.example"})["collector"]
    assert another.state == "problem"
    assert another.said == "https://another.example is another than https://one.example, to which you agreed"
    assert found(home, {"METAVOX_COLLECTOR_URL": "https://one.example"})["collector"].state == "ok"
