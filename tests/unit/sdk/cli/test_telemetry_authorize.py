"""A receipt for servers: asked at a terminal, written to where it was asked for, and good for nothing else."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metavox_privacy.consent import DEPLOYMENT_LASTS
from metavox_privacy.notice import QUESTIONS
from metavox_privacy.receipt import parse_receipt
from tests.unit.sdk.cli.shared import SILENT, count_last_week, run

AT_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from metavox.cli import main
main()
"""


@pytest.mark.usefixtures("terminal")
def test_authorize_mints_a_receipt_and_changes_nothing_for_this_user(home: Path, tmp_path: Path):
    out = tmp_path / "receipt.json"
    result = run(home, "telemetry", "authorize", "--out", str(out), typed="y\n\n")
    given = parse_receipt(out.read_text(encoding="utf-8"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert "SOLD" in result.stderr
    assert "servers and containers" in result.stderr
    assert given is not None
    assert (given.purposes, given.scope) == ({"improve"}, "deployment")
    assert given.expires_at == given.answered_at + DEPLOYMENT_LASTS
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not home.exists()


@pytest.mark.usefixtures("terminal")
def test_a_receipt_that_names_a_collector_says_so_and_holds_for_no_other(home: Path, tmp_path: Path):
    out, here = tmp_path / "receipt.json", {"METAVOX_COLLECTOR_URL": "https://one.example"}
    result = run(home, "telemetry", "authorize", "--out", str(out), typed="y\n\n", **here)
    both = {"METAVOX_TELEMETRY": "on", "METAVOX_TELEMETRY_RECEIPT": str(out)}

    assert ", for https://one.example alone. Where it is to hold" in result.stderr
    assert "Contributions are on" in run(home, "telemetry", "status", **both, **here).stdout
    another = run(home, "telemetry", "status", **both, METAVOX_COLLECTOR_URL="https://another.example").stdout
    assert "Contributions are off: METAVOX_COLLECTOR_URL names another collector" in another


@pytest.mark.usefixtures("terminal")
def test_where_the_receipt_is_named_contributions_are_on_and_nowhere_else(home: Path, tmp_path: Path):
    out = tmp_path / "receipt.json"
    run(home, "telemetry", "authorize", "--out", str(out), typed="y\ny\n")
    both = {"METAVOX_TELEMETRY": "on", "METAVOX_TELEMETRY_RECEIPT": str(out)}

    said = run(home, "telemetry", "status", **both).stdout
    assert "Contributions are on: the receipt that METAVOX_TELEMETRY_RECEIPT names." in said
    assert f"Receipt:      {out}" in said
    for name in both:
        alone = {name: both[name]}
        assert "Contributions are off" in run(home, "telemetry", "status", **alone).stdout
    assert "Contributions are off" in run(home, "telemetry", "status", **both, CI="1").stdout


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("typed", ["\n\n", "", "y\n"], ids=["two times no", "nothing", "the input ends"])
def test_what_is_no_yes_mints_nothing(home: Path, tmp_path: Path, typed: str):
    out = tmp_path / "receipt.json"
    result = run(home, "telemetry", "authorize", "--out", str(out), typed=typed)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing was granted, so there is no receipt" in result.stderr
    assert not out.exists()


@pytest.mark.usefixtures("terminal")
def test_a_file_that_is_there_is_told_before_anything_is_asked(home: Path, tmp_path: Path):
    out = tmp_path / "receipt.json"
    out.write_text("mine")
    result = run(home, "telemetry", "authorize", "--out", str(out), typed="y\ny\n")

    assert result.exit_code == 1
    assert "SOLD" not in result.stderr
    assert out.read_text() == "mine"


@pytest.mark.usefixtures("terminal")
def test_authorize_in_json_names_the_file_or_is_the_receipt_on_one_line(home: Path, tmp_path: Path):
    out = tmp_path / "receipt.json"
    facts = json.loads(run(home, "telemetry", "authorize", "--json", "--out", str(out), typed="y\n\n").stdout)
    line = run(home, "telemetry", "authorize", "--json", typed="y\n\n").stdout

    assert (facts["file"], facts["purposes"]) == (str(out), ["improve"])
    assert datetime.fromisoformat(facts["expires_at"]) > datetime.now(timezone.utc) + timedelta(days=364)
    assert line.count("\n") == 1
    assert parse_receipt(line) is not None


@pytest.mark.usefixtures("terminal")
def test_authorize_leaves_an_earlier_answer_as_it_is(home: Path):
    count_last_week(home)
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    run(home, "telemetry", "authorize", typed="y\ny\n")

    assert {path.name: path.read_bytes() for path in home.iterdir()} == before


def test_the_receipt_goes_into_a_pipe_while_the_questions_are_at_the_terminal(home: Path):
    terminal, far_end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    process = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, "telemetry", "authorize"],
        stdin=far_end, stderr=far_end, stdout=subprocess.PIPE, start_new_session=True, text=True,
        env={**environment, "METAVOX_HOME": str(home)},
    )  # fmt: skip
    os.close(far_end)
    try:
        for question, key in zip(QUESTIONS["en"].values(), (b"y\n", b"y\n"), strict=True):
            read_until(terminal, question)
            os.write(terminal, key)
        written, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)

    assert process.returncode == 0
    given = parse_receipt(written)
    assert given is not None
    assert given.purposes == {"improve", "publish"}
    assert not home.exists()


def read_until(terminal: int, text: str) -> None:
    """Read a screen until a text is on it, wherever its lines break."""
    screen, deadline = "", time.monotonic() + 60
    while "".join(f"{text} [y/N]".split()) not in "".join(screen.split()):
        assert time.monotonic() < deadline, screen
        if select.select([terminal], [], [], 0.5)[0]:
            screen += os.read(terminal, 65536).decode()
    time.sleep(0.05)  # what was typed before the question would be dropped
