"""The question needs a person at a terminal: whoever is none is not asked, not switched on and not kept waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from metavox_privacy.receipt import parse_receipt
from tests.integration.telemetry.shared import clean_environment, everything_in, home_of, requests_in
from tests.integration.telemetry.terminal import COMMAND, Terminal

ASKING = """
from metavox.cli import console
from metavox.cli.first_run import maybe_ask
from metavox.params import SamplingParams
from tests.unit.sdk.telemetry.shared import INFO, example_output
console.is_root = lambda: False
console.open_streams()
console.show_every_letter()
maybe_ask(INFO, [(example_output(), SamplingParams())])
print("the end")
"""
"""What ``metavox generate`` does once its answer is printed, without the model."""

QUESTION = "[y/N]"
GENERATE = ("generate", "Once upon a time", "--max-tokens", "6", "--temperature", "0")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return clean_environment(tmp_path, METAVOX_HOME=str(tmp_path / "home"), LC_ALL="C.UTF-8", TERM="xterm")


def test_a_person_at_a_terminal_is_asked_after_the_answer_and_enter_is_no(
    tmp_path: Path, environment: dict[str, str]
):
    with Terminal(COMMAND, GENERATE, environment) as terminal:
        for asked in (1, 2):
            terminal.wait_for(QUESTION, times=asked)
            terminal.type("\n")
        status = terminal.end()

    assert status == 0
    given = parse_receipt((tmp_path / "home" / "consent.json").read_text())
    assert given is not None
    assert given.purposes == frozenset()
    assert requests_in(home_of(tmp_path / "home")) == 0


def test_generate_with_nothing_to_read_from_is_not_kept_waiting(tmp_path: Path, environment: dict[str, str]):
    with Terminal(COMMAND, GENERATE, environment, apart=(0,), folder=tmp_path) as terminal:
        status = terminal.end()

    assert status == 0
    assert terminal.screen.strip()
    assert QUESTION not in terminal.screen
    assert everything_in(tmp_path / "home") == {}


@pytest.mark.parametrize("apart", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)], ids=str)
def test_where_one_of_the_three_streams_is_no_terminal_nobody_is_asked(
    tmp_path: Path, environment: dict[str, str], apart: tuple[int, ...]
):
    with Terminal(ASKING, (), environment, apart=apart, folder=tmp_path) as terminal:
        status = terminal.end()

    said = terminal.screen + "".join((tmp_path / f"stream-{fd}").read_text() for fd in apart)
    assert status == 0
    assert said.split() == ["the", "end"]
    assert everything_in(tmp_path / "home") == {}


def test_a_job_in_the_background_is_not_stopped_by_a_question(tmp_path: Path, environment: dict[str, str]):
    away = (
        "import os, sys\nif os.fork():\n    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))\nos.setpgid(0, 0)\n"
    )
    with Terminal(away + ASKING, (), environment) as terminal:
        status = terminal.end()

    assert status == 0
    assert terminal.screen.split() == ["the", "end"]
    assert everything_in(tmp_path / "home") == {}


def test_a_terminal_that_is_hung_up_meanwhile_is_no_answer_and_no_endless_wait(
    tmp_path: Path, environment: dict[str, str]
):
    with Terminal(ASKING, (), environment) as terminal:
        terminal.wait_for(QUESTION)
        terminal.hang_up()

    file = tmp_path / "home" / "consent.json"
    given = parse_receipt(file.read_text()) if file.exists() else None
    assert given is None or given.purposes == frozenset()


@pytest.mark.parametrize("columns", [40, 1])
@pytest.mark.parametrize(
    "letters",
    [
        {"PYTHONIOENCODING": "ascii", "LC_ALL": "it_IT.UTF-8"},
        {"PYTHONIOENCODING": "latin-1", "LC_ALL": "it_IT.ISO-8859-1"},
        {"PYTHONIOENCODING": "cp437", "LC_ALL": "", "LANG": "it"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "TERM": "dumb"},
    ],
    ids=lambda letters: letters.get("PYTHONIOENCODING") or letters["LC_ALL"],
)
def test_any_terminal_can_show_the_question_and_take_the_answer(
    tmp_path: Path, environment: dict[str, str], letters: dict[str, str], columns: int
):
    with Terminal(ASKING, (), {**environment, **letters}, columns=columns) as terminal:
        for asked in (1, 2):
            terminal.wait_for("/N]", times=asked)  # [y/N], and in Italian [s/N]
            terminal.type("n\n")
        status = terminal.end()

    assert status == 0
    assert "Traceback" not in terminal.screen
    assert "\ufffd" not in terminal.screen or "latin" in str(letters) or "437" in str(letters)
    if columns == 40:  # all of the question; what came of it is one line that the terminal breaks
        assert max(map(len, terminal.screen.rpartition("/N]")[0].splitlines())) < 40
    given = parse_receipt((tmp_path / "home" / "consent.json").read_text())
    assert given is not None
    assert given.purposes == frozenset()


def test_of_two_first_runs_side_by_side_the_first_answer_stands(tmp_path: Path, environment: dict[str, str]):
    with Terminal(ASKING, (), environment) as one, Terminal(ASKING, (), environment) as other:
        for terminal in (one, other):
            terminal.wait_for(QUESTION)
        for asked in (1, 2):
            one.wait_for(QUESTION, times=asked)
            one.type("n\n")
        assert one.end() == 0
        first = (tmp_path / "home" / "consent.json").read_text()
        for asked in (1, 2):
            other.wait_for(QUESTION, times=asked)
            other.type("y\n")
        assert other.end() == 0

    assert (tmp_path / "home" / "consent.json").read_text() == first
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["consent.json"]
