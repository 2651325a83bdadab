"""The question, asked through a real terminal, and all the places where it is not asked."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from metavox.cli.first_run import may_ask
from metavox_privacy.consent import ASK_AGAIN_AFTER, Answer, Evidence, Unreadable
from metavox_privacy.notice import WORDS, Language, notice_hash
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.cli.shared import SILENT

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 16, tzinfo=timezone.utc)


def asked(environment: dict[str, str] | None = None, **changes: object) -> bool:
    """Whether somebody is asked, given what ``Evidence`` and ``may_ask`` take by name."""
    facts = {"on_terminals": True, "is_root": False, "can_be_kept": True, "now": NOW}
    found = {name: value for name, value in changes.items() if name not in facts}
    evidence = Evidence(environment or {}, **found)  # type: ignore[arg-type]
    return may_ask(evidence, **{name: changes.get(name, value) for name, value in facts.items()})  # type: ignore[arg-type]


def recorded(*purposes: str, again: datetime | None = None, version: int = SCHEMA.version) -> Answer:
    words = notice_hash(replace(SCHEMA, version=version))
    return Answer(frozenset(purposes), NOW, words, version, ask_again_after=again)  # type: ignore[arg-type]


def test_a_person_at_a_terminal_who_was_never_asked_is_asked():
    assert asked()
    assert asked({"METAVOX_TELEMETRY": "on"}, policy='{"telemetry": "user"}')


@pytest.mark.parametrize(
    "environment",
    [{"CI": "1"}, {"GITHUB_ACTIONS": "true"}, {"DO_NOT_TRACK": "1"}, {"METAVOX_TELEMETRY": "off"}],
    ids=str,
)
def test_an_environment_that_says_off_is_not_asked(environment: dict[str, str]):
    assert not asked(environment)


@pytest.mark.parametrize(
    "changes",
    [
        *({"on_terminals": False}, {"is_root": True}, {"can_be_kept": False}, {"policy": "{}"}),
        *({"forced_off": True}, {"is_foreign": True}, {"is_damaged": True}),
    ],
    ids=str,
)
def test_pipes_the_superuser_and_whatever_forbids_a_yes_are_not_asked(changes: dict[str, object]):
    assert not asked(**changes)


@pytest.mark.parametrize(
    "answer",
    [
        *(recorded(), recorded("improve"), recorded("improve", version=0), Unreadable.FILE),
        recorded(again=NOW + timedelta(seconds=1)),
    ],
)
def test_whoever_answered_is_not_asked_again(answer: Answer | Unreadable):
    assert not asked(answer=answer)


def test_a_deployment_that_contributes_by_its_receipt_is_not_asked():
    given = replace(recorded("improve"), scope="deployment", expires_at=NOW + timedelta(days=1))

    assert not asked({"METAVOX_TELEMETRY": "on"}, authorization=given)
    assert asked(authorization=given)  # without the variable it counts for nothing


def test_not_now_lasts_half_a_year():
    assert asked(answer=recorded(again=NOW))
    assert timedelta(days=182) == ASK_AGAIN_AFTER


DRIVER = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background has it ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if "in the background" in sys.argv and os.fork() == 0:
    os.setpgid(0, 0)
elif "in the background" in sys.argv:
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
from metavox.cli import console
from metavox.cli.first_run import maybe_ask
from metavox.params import SamplingParams
from tests.unit.sdk.telemetry.shared import INFO, example_output
console.is_root = lambda: False
if "on a full disk" in sys.argv:
    def full(*_):
        raise OSError(28, "No space left on device")
    os.fsync = full
maybe_ask(INFO, [(example_output(prompt="the secret prompt"), SamplingParams())])
print("the end")
"""


class Person:
    """Somebody at a terminal, who reads and types."""

    def __init__(
        self, home: Path, *arguments: str, columns: int = 80, language: Language = "en", **environment: str
    ) -> None:
        self.home = home
        self._words = WORDS[language]
        self._terminal, far_end = pty.openpty()
        fcntl.ioctl(far_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        silent = {name: value for name, value in os.environ.items() if name not in (*SILENT, "COLUMNS", "LINES")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", DRIVER, *arguments],
            stdin=far_end, stdout=far_end, stderr=far_end, cwd=ROOT, start_new_session=True,
            env={**silent, "METAVOX_HOME": str(home), **environment},
        )  # fmt: skip
        os.close(far_end)
        self.screen = ""

    def wait_for(self, text: str, after: int = 0) -> None:
        """Read until the screen shows a text, wherever its lines break."""
        deadline = time.monotonic() + 60  # torch takes its time on a busy machine
        while "".join(text.split()) not in "".join(self.screen[after:].split()):
            assert time.monotonic() < deadline, self.screen
            if select.select([self._terminal], [], [], 0.5)[0]:
                try:
                    self.screen += os.read(self._terminal, 65536).decode()
                except OSError as gone:  # Linux says EIO when the other side has closed
                    raise AssertionError(self.screen) from gone

    def answer(self, purpose: str, keys: str) -> None:
        """Type, once the question for a purpose is there."""
        before = len(self.screen)
        self.wait_for(f"{self._words.questions[purpose]} {self._words.choices}")  # type: ignore[index]
        time.sleep(0.05)
        os.write(self._terminal, keys.encode())
        assert before <= len(self.screen)

    def leave(self) -> Answer | None:
        """Read to the end, and see what was recorded."""
        self.wait_for("the end")
        assert self._process.wait(20) == 0
        file = self.home / "consent.json"
        assert not (self.home / "journal.sqlite3").exists()
        return parse_receipt(file.read_text()) if file.exists() else None

    def stand_up(self) -> None:
        """End what is still running, whatever became of the test."""
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    """Seat a person at a terminal of their own."""
    with ExitStack() as stack:

        def seat(*arguments: str, **settings: Any) -> Person:
            person = Person(settings.pop("home", tmp_path), *arguments, **settings)
            stack.callback(person.stand_up)
            return person

        yield seat


@pytest.mark.parametrize(
    ("keys", "purposes"),
    [
        (("\n", "\n"), set()),
        (("y\n", "n\n"), {"improve"}),
        (("no\n", "Yes\n"), {"publish"}),
        (("q\n", "yep\n"), set()),
    ],
)
def test_each_purpose_is_answered_by_itself_and_enter_is_no(
    sit: Callable[..., Person], keys: tuple[str, str], purposes: set[str]
):
    person = sit()
    person.answer("improve", keys[0])
    person.answer("publish", keys[1])
    given = person.leave()

    assert given is not None
    assert given.purposes == purposes
    assert given.ask_again_after is None
    assert (given.notice, given.schema_version) == (notice_hash(SCHEMA), SCHEMA.version)
    assert "SOLD" in person.screen


@pytest.mark.parametrize("keys", [("\x03",), ("\x04",), ("y\n", "\x03"), ("y\n", "\x04")], ids=repr)
def test_ctrl_c_and_the_end_of_input_are_not_now(sit: Callable[..., Person], keys: tuple[str, ...]):
    person = sit()
    for purpose, key in zip(("improve", "publish"), keys, strict=False):
        person.answer(purpose, key)
    given = person.leave()

    assert given is not None
    assert given.purposes == frozenset()
    assert given.ask_again_after == given.answered_at + ASK_AGAIN_AFTER
    assert "Traceback" not in person.screen


def test_p_shows_the_exact_bytes_of_a_run_like_this_and_asks_again(sit: Callable[..., Person]):
    person = sit()
    person.answer("improve", "p\n")
    person.wait_for("in base64:")
    seen = person.screen.index("in base64:")  # what follows may be read with it
    person.wait_for(f"{WORDS['en'].questions['improve']} [y/N]", after=seen)
    person.answer("improve", "\n")
    person.answer("publish", "\n")
    given = person.leave()

    assert given is not None
    assert given.purposes == frozenset()
    assert '"gen_ai.request.model": "metavox/tiny"' in person.screen
    assert "SHA-256" in person.screen
    assert "exact bytes a run like this would add" in person.screen
    assert "what ran before a yes is never counted" in person.screen
    assert "the secret prompt" not in person.screen


def test_an_italian_is_asked_in_italian_and_may_answer_so(sit: Callable[..., Person]):
    person = sit(language="it", LANG="it_IT.UTF-8", PYTHONIOENCODING="utf-8")
    person.answer("improve", "sì\n")
    person.answer("publish", "n\n")
    given = person.leave()

    assert given is not None
    assert (given.purposes, given.language) == ({"improve"}, "it")
    assert given.notice == notice_hash(SCHEMA, "it")
    assert "VENDUTI" in person.screen
    assert "Acceso da ora per improve; non per publish." in person.screen


def test_a_terminal_without_the_letters_of_italian_is_asked_in_english(sit: Callable[..., Person]):
    person = sit(LANG="it_IT", PYTHONIOENCODING="ascii")
    person.answer("improve", "y\n")
    person.answer("publish", "\n")
    given = person.leave()

    assert given is not None
    assert (given.purposes, given.language) == ({"improve"}, "en")
    assert person.screen.isascii()


@pytest.mark.parametrize(("language", "locale"), [("en", "C.UTF-8"), ("it", "it_IT.UTF-8")])
def test_all_that_is_asked_fits_one_screen(sit: Callable[..., Person], language: Language, locale: str):
    person = sit(language=language, LANG=locale, PYTHONIOENCODING="utf-8")
    person.answer("improve", "\n")
    person.answer("publish", "\n")
    person.leave()
    lines = person.screen[: person.screen.index(WORDS[language].questions["publish"])].strip().splitlines()

    assert len(lines) + 1 <= 24
    assert max(map(len, lines)) <= 80


def test_a_folder_that_takes_no_answer_is_not_asked_about_with_each_run(tmp_path: Path, sit: Callable[..., Person]):
    (tmp_path / "file").write_text("")
    person = sit(home=tmp_path / "file" / "home")

    assert person.leave() is None
    assert person.screen.split() == ["the", "end"]


def test_a_disk_that_fills_up_meanwhile_is_told_in_a_line_and_nothing_is_kept(
    tmp_path: Path, sit: Callable[..., Person]
):
    person = sit("on a full disk")
    person.answer("improve", "y\n")
    person.answer("publish", "y\n")

    assert person.leave() is None
    assert "the answer could not be saved, so nothing is kept: No space left on device" in " ".join(
        person.screen.split()
    )
    assert list(tmp_path.iterdir()) == []


def test_of_two_first_runs_at_once_the_first_answer_stands(tmp_path: Path, sit: Callable[..., Person]):
    first, second = sit(), sit()
    for person in (first, second):
        person.wait_for(WORDS["en"].questions["improve"])
    first.answer("improve", "\n")
    first.answer("publish", "\n")
    no = first.leave()
    second.answer("improve", "y\n")
    second.answer("publish", "y\n")

    assert second.leave() == no
    assert "answered meanwhile" in second.screen


def test_forty_columns_are_enough(sit: Callable[..., Person]):
    person = sit(columns=40)
    person.answer("improve", "\n")
    person.answer("publish", "\n")
    person.leave()

    assert "No: nothing is kept or sent" in person.screen
    assert max(map(len, person.screen.splitlines())) <= 40


@pytest.mark.parametrize("environment", [{"CI": "1"}, {"DO_NOT_TRACK": "1"}], ids=str)
def test_nobody_is_asked_where_the_environment_says_off(
    tmp_path: Path, sit: Callable[..., Person], environment: dict[str, str]
):
    person = sit(**environment)

    assert person.leave() is None
    assert person.screen.split() == ["the", "end"]
    assert list(tmp_path.iterdir()) == []


def test_a_job_in_the_background_asks_nothing_since_reading_would_stop_it(sit: Callable[..., Person]):
    person = sit("in the background")

    assert person.leave() is None
    assert person.screen.split() == ["the", "end"]


def test_what_was_typed_before_the_question_is_no_answer(sit: Callable[..., Person]):
    person = sit()
    os.write(person._terminal, b"y\ny\n")  # the driver needs a moment to start
    person.answer("improve", "\n")
    person.answer("publish", "\n")
    given = person.leave()

    assert given is not None
    assert given.purposes == frozenset()
