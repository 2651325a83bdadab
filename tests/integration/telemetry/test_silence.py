"""A program prints and logs the same, byte for byte, whoever agreed to what and however a collector is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metavox.telemetry.home.folders import Home
from tests.integration.telemetry.shared import (
    TEMPERS,
    agree,
    clean_environment,
    collector,
    home_of,
    keep_a_due_report,
    report_in,
    requests_in,
    run,
)

PROGRAM = """
import faulthandler, logging, os, sys, time, warnings
faulthandler.enable()
warnings.simplefilter("error")
if "logging" in sys.argv:
    logging.basicConfig(level=logging.INFO)
from opentelemetry.sdk.trace import TracerProvider
from metavox.telemetry import ContributionProcessor
from metavox.telemetry.contribution import Contribution
from tests.integration.telemetry.programs import use

contribution = Contribution.from_environment(os.environ)
contribution.begin()
provider = TracerProvider()
provider.add_span_processor(ContributionProcessor(contribution))
use(provider, 3)
provider.force_flush()
print("the answer")
print("to be said", file=sys.stderr)
logging.getLogger().warning("to be logged")
use(provider, 2)
time.sleep(float(os.environ.get("LINGER", "0")))
"""
SAID = "to be said\nto be logged\n"
LOGGED = "to be said\nWARNING:root:to be logged\n"


def said(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    done = run(PROGRAM, environment, *arguments)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("temper", TEMPERS)
def test_no_collector_is_ever_heard_of(tmp_path: Path, temper: str):
    home = home_of(tmp_path)
    agree(home)
    week = keep_a_due_report(home)
    with collector(temper) as made:
        environment = clean_environment(
            tmp_path, METAVOX_HOME=str(tmp_path), METAVOX_COLLECTOR_URL=made.url, LINGER="0.3", PYTHONDEVMODE="1"
        )
        outcome = said(environment, "logging")

    assert outcome == (0, "the answer\n", LOGGED)
    assert report_in(home, week)[0] == 1
    assert requests_in(home) == 5


def test_an_upload_that_runs_to_its_deadline_is_silent_too(tmp_path: Path):
    home = home_of(tmp_path)
    agree(home)
    keep_a_due_report(home)
    with collector("hanging") as made:
        environment = clean_environment(
            tmp_path, METAVOX_HOME=str(tmp_path), METAVOX_COLLECTOR_URL=made.url, LINGER="3.5", PYTHONDEVMODE="1"
        )
        outcome = said(environment, "logging")

    assert outcome == (0, "the answer\n", LOGGED)
    assert made.heard


def nothing(home: Home) -> None:
    """Nobody has answered."""


def damaged(home: Home) -> None:
    agree(home)
    home.journal_file.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)


def no_database(home: Home) -> None:
    agree(home)
    home.journal_file.write_text("this is no database at all" * 100)


def a_folder(home: Home) -> None:
    agree(home)
    home.journal_file.mkdir()


def set_aside(home: Home) -> None:
    agree(home)
    home.damaged_file.write_bytes(b"")


def garbage(home: Home) -> None:
    home.consent_file.write_bytes(b"\xff\xfe{not json")


def deep(home: Home) -> None:
    home.consent_file.write_text("[" * 60_000)


def of_another_version(home: Home) -> None:
    import sqlite3

    agree(home)
    keep_a_due_report(home)
    sql = sqlite3.connect(home.journal_file)
    sql.execute("PRAGMA user_version = 99")
    sql.close()


@pytest.mark.parametrize("address", ["", "nonsense", "http://192.0.2.1", "https://user:secret@collector.example"])
def test_an_address_that_is_none_is_not_complained_of(tmp_path: Path, address: str):
    home = home_of(tmp_path)
    agree(home)
    week = keep_a_due_report(home)
    environment = clean_environment(
        tmp_path, METAVOX_HOME=str(tmp_path), METAVOX_COLLECTOR_URL=address, LINGER="0.2", PYTHONDEVMODE="1"
    )

    assert said(environment) == (0, "the answer\n", SAID)
    assert report_in(home, week) == (0, None)


@pytest.mark.parametrize(
    "state",
    [nothing, agree, damaged, no_database, a_folder, set_aside, garbage, deep, of_another_version],
    ids=lambda state: state.__name__,
)
def test_no_state_of_the_files_is_heard_of(tmp_path: Path, state: Callable[[Home], None]):
    state(home_of(tmp_path))
    environment = clean_environment(tmp_path, METAVOX_HOME=str(tmp_path), PYTHONDEVMODE="1")

    assert said(environment) == (0, "the answer\n", SAID)


def test_the_command_line_prints_the_same_with_a_dead_collector(tmp_path: Path):
    command = [sys.executable, "-W", "error", "-c", "from metavox.cli import main; main()"]
    words = ["generate", "Once upon a time", "--max-tokens", "8", "--temperature", "0"]

    def printed(environment: dict[str, str]) -> tuple[int, bytes, bytes]:
        done = subprocess.run(
            [*command, *words],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    home = home_of(tmp_path)
    environment = clean_environment(tmp_path, METAVOX_HOME=str(tmp_path))
    quiet = printed(environment)
    assert not home.consent_file.exists()
    agree(home)
    week = keep_a_due_report(home)
    with collector("refusing") as made:
        contributing = printed({**environment, "METAVOX_COLLECTOR_URL": made.url})

    assert quiet[0] == 0
    assert quiet[1].strip()
    assert contributing == quiet
    assert report_in(home, week)[0] == 1
    assert requests_in(home) == 1
