from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from metavox.telemetry.home import Home
from metavox_privacy.consent import Answer, Unreadable
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt, parse_receipt
from metavox_privacy.schema import SCHEMA
from tests.spans import BOTH
from tests.unit.sdk.telemetry.shared import YES, agree, home_in


def test_the_environment_may_name_one_folder_but_never_another_policy(tmp_path: Path):
    home = Home.from_environment({"METAVOX_HOME": str(tmp_path)})

    assert home.consent_file == tmp_path / "consent.json"
    assert home.journal_file == tmp_path / "journal.sqlite3"
    assert home.policy == Path("/etc/metavox/policy.json")


def test_the_platforms_own_folders_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    home = Home.from_environment({})

    assert home.consent_file.name == "consent.json"
    assert home.journal_file.name == "journal.sqlite3"
    assert list(tmp_path.iterdir()) == []


def no_home(*_: object) -> Path:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("folder", [no_home, lambda *_: Path("~/.config/metavox")], ids=["newer", "older"])
def test_without_a_home_folder_it_is_off_and_no_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Callable[..., Path]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_config_path", folder)
    monkeypatch.setattr("platformdirs.user_state_path", folder)
    (tmp_path / "~/.config/metavox").mkdir(parents=True)
    yes = format_receipt(Answer(BOTH, YES, notice_hash(SCHEMA), SCHEMA.version))
    (tmp_path / "~/.config/metavox/consent.json").write_text(yes)  # somebody else's, in the current folder
    home = Home.from_environment({})

    assert home.answer() is Unreadable.FILE
    assert not home.consent({}).granted
    with pytest.raises(OSError, match="METAVOX_HOME can name one"):
        agree(home)


def test_a_recorded_answer_can_be_read_by_its_owner_alone(tmp_path: Path):
    home = home_in(tmp_path / "deep")
    agree(home)
    given = parse_receipt(str(home.answer()))

    assert given is not None
    assert given.purposes == BOTH
    assert stat.S_IMODE(home.consent_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.config.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.config.parent.stat().st_mode) == 0o700
    assert [path.name for path in home.config.iterdir()] == ["consent.json"]


def test_reading_finds_nothing_and_makes_nothing(tmp_path: Path):
    home = home_in(tmp_path)

    assert home.answer() is None
    assert home.policy_text() is None
    assert not home.consent({}).granted
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 100_000])
def test_a_file_that_cannot_be_read_is_unreadable_and_off(tmp_path: Path, content: bytes):
    home = home_in(tmp_path)
    home.config.mkdir()
    home.consent_file.write_bytes(content)

    assert home.answer() is Unreadable.FILE
    assert not home.consent({}).granted


def test_a_folder_in_the_files_place_is_unreadable(tmp_path: Path):
    home = home_in(tmp_path)
    home.consent_file.mkdir(parents=True)

    assert home.answer() is Unreadable.FILE


def test_a_policy_file_switches_a_yes_off(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    assert home.consent({}).granted
    home.policy.write_text(json.dumps({"telemetry": "off"}))

    assert not home.consent({}).granted


def test_a_failed_write_leaves_the_old_answer_and_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = home_in(tmp_path)
    agree(home)
    before = home.answer()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        agree(home)

    assert home.answer() == before
    assert [path.name for path in home.config.iterdir()] == ["consent.json"]


def dangling(policy: Path) -> None:
    policy.symlink_to("nowhere")


def below_a_dangling_link(policy: Path) -> None:
    policy.parent.symlink_to("nowhere")


def below_a_file(policy: Path) -> None:
    policy.parent.write_text("a file where a folder should be")


def a_pipe(policy: Path) -> None:
    os.mkfifo(policy)


@pytest.mark.parametrize("make", [dangling, below_a_dangling_link, below_a_file, a_pipe])
def test_a_policy_that_is_there_in_any_odd_way_switches_a_yes_off(tmp_path: Path, make):
    folder = tmp_path / "etc"
    if make in (dangling, a_pipe):
        folder.mkdir()
    home = Home(tmp_path, tmp_path, folder / "policy.json")
    agree(home)
    assert home.consent({}).granted or folder.exists()
    make(home.policy)

    assert home.policy_text() is Unreadable.FILE
    assert not home.consent({}).granted


def test_a_pipe_in_the_consent_files_place_is_unreadable_and_nothing_waits_for_it(tmp_path: Path):
    home = home_in(tmp_path)
    home.config.mkdir()
    os.mkfifo(home.consent_file)

    assert home.answer() is Unreadable.FILE


def test_a_yes_to_another_notice_is_paused(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    text = home.consent_file.read_text()
    home.consent_file.write_text(text.replace(notice_hash(SCHEMA), "ab" * 32))

    assert not home.consent({}).granted


def test_deleting_the_journal_leaves_nothing_that_a_crash_left(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    home.state.mkdir()
    for end in ("", "-journal", "-wal", "-shm"):
        (home.state / f"journal.sqlite3{end}").write_text("counts")
    (home.config / ".consent-x7").write_text("half an answer")
    home.delete_journal()

    assert list(home.state.iterdir()) == []
    assert [path.name for path in home.config.iterdir()] == ["consent.json"]
