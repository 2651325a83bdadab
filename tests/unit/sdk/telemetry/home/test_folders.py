from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest

from metavox.telemetry.home import private_files, switch
from metavox.telemetry.home.folders import AnsweredMeanwhile, Home
from metavox_privacy.consent import DEPLOYMENT_LASTS, Answer, Unreadable
from metavox_privacy.fields import Purpose
from metavox_privacy.notice import notice_hash
from metavox_privacy.receipt import format_receipt, parse_receipt
from metavox_privacy.schema import SCHEMA
from tests.spans import BOTH
from tests.unit.sdk.telemetry.shared import YES, agree, home_in

ROOT = Path(__file__).parents[5]
SOMEBODY = 54321


def answer_of(purposes: frozenset[Purpose]) -> Answer:
    return Answer(purposes, YES, notice_hash(SCHEMA), SCHEMA.version)


NO = answer_of(frozenset())


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


HOMELESS = "there is no home folder to keep anything in; METAVOX_HOME can name one, by its whole path"


@pytest.mark.parametrize("named", ["metavox", "./metavox", "~/metavox"])
def test_a_relative_folder_is_no_home_for_each_current_one_would_be_another_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
):
    monkeypatch.chdir(tmp_path)
    there = home_in(tmp_path / named)
    agree(there)
    assert there.consent({}).granted

    assert Home.from_environment({"METAVOX_HOME": named}).consent({}).rule == HOMELESS


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
    assert home.consent({}).rule == HOMELESS
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


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 1_000_000])
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


def test_what_an_answer_takes_back_is_noted_in_it(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    home.record(NO)
    withdrawn = parse_receipt(str(home.answer()))

    assert withdrawn is not None
    assert (withdrawn.purposes, withdrawn.withdrawn) == (frozenset(), BOTH)
    agree(home)
    assert home.consent({}).granted


def test_an_answer_replaces_the_one_that_was_seen_when_the_question_was_put(tmp_path: Path):
    home = home_in(tmp_path)
    home.record(NO, replacing=None)
    seen = home.answer()
    home.record(answer_of(BOTH), replacing=seen)

    assert home.consent({}).granted
    with pytest.raises(AnsweredMeanwhile, match="answered meanwhile"):
        home.record(NO, replacing=seen)
    with pytest.raises(AnsweredMeanwhile, match="answered meanwhile"):
        home.record(NO, replacing=None)
    assert home.consent({}).granted
    assert [path.name for path in home.config.iterdir()] == ["consent.json"]


@pytest.mark.parametrize("disk", ["with links", "without links", "without locks"])
def test_of_concurrent_first_answers_one_stands_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str
):
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if disk == "without links":
        monkeypatch.setattr("os.link", unsupported)
    elif disk == "without locks":
        monkeypatch.setattr("fcntl.flock", unsupported)
    home = home_in(tmp_path)
    start = threading.Barrier(8)

    def answer(purposes: frozenset[Purpose]) -> frozenset[Purpose] | None:
        start.wait(20)
        try:
            home.record(answer_of(purposes), replacing=None)
        except AnsweredMeanwhile:
            return None
        return purposes

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(answer, [BOTH, frozenset(), frozenset({"improve"}), frozenset({"publish"})] * 2))
    (stands,) = (purposes for purposes in told if purposes is not None)
    recorded = parse_receipt(str(home.answer()))

    assert recorded is not None
    assert recorded.purposes == stands
    assert [path.name for path in home.config.iterdir()] == ["consent.json"]


def test_of_processes_that_replace_the_same_answer_one_does(tmp_path: Path):
    home = home_in(tmp_path)
    home.record(NO)
    script = (
        "import sys, time; from pathlib import Path\n"
        "from metavox.telemetry.home.folders import AnsweredMeanwhile\n"
        "from tests.unit.sdk.telemetry.shared import home_in\n"
        "from tests.unit.sdk.telemetry.home.test_folders import NO\n"
        "home = home_in(Path(sys.argv[1])); seen = home.answer()\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: home.record(NO, replacing=seen)\n"
        "except AnsweredMeanwhile: print('meanwhile')\n"
        "else: print('recorded')\n"
    )
    people = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for _ in range(3)
    ]  # fmt: skip
    for person in people:
        assert person.stdout is not None
        assert person.stdout.readline() == "ready\n"
    home.record(answer_of(BOTH), replacing=home.answer())
    said = [person.communicate("\n", timeout=60)[0] for person in people]

    assert said == ["meanwhile\n"] * 3
    assert home.consent({}).granted


def test_an_answer_to_words_that_nobody_showed_is_not_recorded(tmp_path: Path):
    home = home_in(tmp_path)
    with pytest.raises(ValueError, match="other words"):
        home.record(replace(NO, notice="ab" * 32))

    assert home.answer() is None


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder somebody else's, and this the superuser: really, or by its own word where it is not."""

    def give(folder: Path) -> None:
        if os.geteuid() == 0:
            os.chown(folder, SOMEBODY, SOMEBODY)
        else:
            monkeypatch.setattr("os.geteuid", lambda: 0)

    return give


def test_the_superuser_in_somebody_elses_home_is_off_whatever_is_recorded(tmp_path: Path, give_away):
    home = home_in(tmp_path)
    agree(home)
    give_away(home.config)
    found = home.consent({})

    assert not found.granted
    assert "superuser in somebody else's home" in found.rule
    assert home.evidence({}).is_foreign


def test_the_superuser_is_in_somebodys_home_before_there_is_any_file_in_it(tmp_path: Path, give_away):
    owned = tmp_path / "home"
    owned.mkdir()
    home = Home(owned / "deep" / "config", owned / "state", tmp_path / "no-policy.json")
    give_away(owned)

    assert home.is_foreign()
    with pytest.raises(PermissionError, match="for the owner of this folder alone"):
        agree(home)
    assert list(owned.iterdir()) == []


def test_the_superusers_no_in_somebodys_home_is_theirs(tmp_path: Path, give_away):
    owned = tmp_path / "home"
    owned.mkdir()
    home = Home(owned / "deep" / "config", owned / "state", tmp_path / "no-policy.json")
    give_away(owned)
    home.record(NO)

    owner = owned.stat().st_uid
    assert home.consent_file.stat().st_uid == home.config.stat().st_uid == home.config.parent.stat().st_uid == owner
    assert stat.S_IMODE(home.consent_file.stat().st_mode) == 0o600
    assert parse_receipt(home.consent_file.read_text()) == NO


def test_a_link_of_somebody_elses_does_not_make_a_home_the_superusers(tmp_path: Path, give_away):
    mine = tmp_path / "mine"
    mine.mkdir()
    link = tmp_path / "config"
    link.symlink_to(mine)
    if os.geteuid() == 0:
        os.chown(link, SOMEBODY, SOMEBODY, follow_symlinks=False)
    else:
        give_away(link)

    assert Home(link, mine, tmp_path / "no-policy.json").is_foreign()


def test_a_folder_below_a_current_one_that_is_gone_is_no_place_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    assert not Home.from_environment({"METAVOX_HOME": "relative"}).consent({}).granted
    assert private_files.is_somebody_elses(Path("relative"))


def test_the_superuser_at_home_is_somebody_as_others_are(tmp_path: Path):
    assert not home_in(tmp_path).is_foreign()


def test_a_consent_file_of_another_user_is_nobodys_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = home_in(tmp_path)
    agree(home)
    if os.geteuid() == 0:
        os.chown(home.consent_file, SOMEBODY, SOMEBODY)
    else:
        monkeypatch.setattr("os.geteuid", lambda: SOMEBODY)

    assert home.answer() is Unreadable.FILE
    assert not home.consent({}).granted


def deployment_receipt(path: Path) -> Path:
    given = replace(answer_of(BOTH), scope="deployment", expires_at=YES + DEPLOYMENT_LASTS)
    path.write_text(format_receipt(given))
    return path


def test_a_named_receipt_beside_the_switch_is_a_yes_without_any_other(tmp_path: Path):
    home = home_in(tmp_path / "home")
    environment = {
        "METAVOX_TELEMETRY": "on",
        "METAVOX_TELEMETRY_RECEIPT": str(deployment_receipt(tmp_path / "receipt.json")),
    }

    assert home.consent(environment, YES).granted
    assert not home.consent(environment, YES + DEPLOYMENT_LASTS).granted
    assert not home.consent({**environment, "METAVOX_TELEMETRY": ""}, YES).granted
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["missing.json", "receipt\0.json", "folder"])
def test_a_named_receipt_that_is_not_there_is_off_even_beside_a_recorded_yes(tmp_path: Path, name: str):
    home = home_in(tmp_path / "home")
    agree(home)
    (tmp_path / "folder").mkdir()
    found = home.consent({"METAVOX_TELEMETRY": "on", "METAVOX_TELEMETRY_RECEIPT": str(tmp_path / name)})

    assert not found.granted
    assert "METAVOX_TELEMETRY_RECEIPT" in found.rule


@pytest.mark.skipif(sys.platform == "win32", reason="there no folder can be locked")
def test_an_answer_waits_for_the_one_that_is_being_given_and_lets_it_stand(tmp_path: Path):
    home = home_in(tmp_path)
    agree(home)
    seen = home.answer()
    with ThreadPoolExecutor(1) as pool:
        with private_files.locked(home.config):
            late = pool.submit(home.record, answer_of(BOTH), replacing=seen)
            assert not wait([late], 0.1).done
            home.consent_file.write_text(format_receipt(NO))
        with pytest.raises(AnsweredMeanwhile):
            late.result()
    assert parse_receipt(home.consent_file.read_text()) == NO


@pytest.mark.parametrize("is_link", [False, True])
def test_a_damaged_journal_that_was_set_aside_is_off(tmp_path: Path, is_link: bool):
    home = home_in(tmp_path)
    agree(home)
    home.state.mkdir()
    if is_link:  # that leads nowhere
        home.damaged_file.symlink_to(tmp_path / "away")
    else:
        home.damaged_file.write_bytes(b"")

    assert "damaged" in home.consent({}).rule


def test_a_program_that_forces_off_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = home_in(tmp_path)
    agree(home)
    monkeypatch.setattr("metavox.telemetry.home.switch._forced_off", False)
    assert home.consent({}).granted
    switch.force_off()

    assert "configure(enabled=False)" in home.consent({}).rule


def test_a_home_that_takes_no_file_is_an_error_with_its_name(tmp_path: Path):
    (tmp_path / "file").write_text("")
    home = home_in(tmp_path / "file" / "home")
    with pytest.raises(NotADirectoryError, match="file"):
        agree(home)

    assert home.answer() is Unreadable.FILE
    assert not home.consent({}).granted
