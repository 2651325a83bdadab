"""The demo as a new user runs it: it ends by itself, touches nothing of theirs, leaves nothing when interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

# A test in the background has Ctrl-C ignored, and so would the demo; under nohup it goes on when the terminal goes.
SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from metavox.cli import main
main()
"""
INTERRUPTED = "metavox: interrupted; everything the demo made is removed\n"
COMMAND = [sys.executable, "-c", SCRIPT, "demo", "--prompts", "8"]


@pytest.fixture
def user(tmp_path):
    """A user with an empty home and settings of their own, none of which is the demo's business."""
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "XDG_CONFIG_HOME": str(tmp_path / "home" / ".config"),
        "XDG_STATE_HOME": str(tmp_path / "home" / ".state"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DO_NOT_TRACK": "1",
        "CI": "true",
        "COLUMNS": "80",
        "METAVOX_COLLECTOR_URL": "https://collector.example",
        "METAVOX_COLLECTOR_GRACE_DAYS": "13",
    }
    return tmp_path, environment


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def left_by_the_demo(home: Path) -> list[Path]:
    """Without what the engine keeps for its next start: its operations, compiled for this processor."""
    return [path for path in left(home) if path.parent != home / ".cache" / "metavox" / "native"]


@pytest.mark.parametrize("out", [[], ["--out"]], ids=["of its own", "--out"])
def test_the_demo_walks_the_whole_path_and_leaves_only_the_dataset(user, out):
    folder, environment = user
    arguments = [*out, str(folder / "kept")] if out else []
    process = start(environment, "--installations", "2500", *arguments)
    first = process.stdout.readline() + process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    said = first + said
    assert "published and SOLD" in " ".join(said.split())
    assert re.search(r"8 prompts, \d+ tokens in [\d.]+ s: \d+ tokens/s", said)
    assert '"gen_ai.request.model": "metavox/tiny"' in said
    assert "Sent, and stored by the collector before it answered." in said
    assert "sent 2500 synthetic reports" in said
    assert "tokens/s of one request" in " ".join(said.split())  # a title breaks over a table that noise left narrow
    assert left_by_the_demo(folder / "home") == []
    (preview,) = (folder / "kept" if out else next((folder / "tmp").iterdir())).glob("*-synthetic-preview")
    performance = preview / "data" / "performance.parquet"
    assert all(preview in path.parents for path in left(folder / "tmp"))
    assert bool(left(folder / "tmp")) is not bool(out)
    assert str(performance) in said
    rows = pq.read_table(performance).to_pylist()
    assert {row["synthetic"] for row in rows} == {True}
    assert "metavox/tiny" in {row["model"] for row in rows}


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [*COMMAND, *arguments]
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_an_interrupted_demo_leaves_nothing(user):
    folder, environment = user
    process = start(environment)
    # Once the collector has told its address the demo is in the middle of its work.
    url = next(line for line in process.stdout if line.startswith("http://")).split(",")[0]
    time.sleep(1)
    while process.poll() is None:  # an impatient person
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == INTERRUPTED
    assert left(folder / "tmp") == []
    assert left_by_the_demo(folder / "home") == []
    port = int(url.rpartition(":")[2])
    listening = Path("/proc/net/tcp").read_text() if Path("/proc/net/tcp").exists() else ""
    assert f"0100007F:{port:04X} 00000000:0000 0A" not in listening


@pytest.mark.parametrize("when", ["A collector starts", "http://"], ids=["at once", "in the middle"])
def test_a_terminated_demo_leaves_nothing_either(user, when):
    folder, environment = user
    process = start(environment)
    next(line for line in process.stdout if line.startswith(when))
    if when != "http://":
        time.sleep(0.2)  # the collector is on its way, and has not told its address
    process.terminate()
    _, errors = process.communicate(timeout=60)  # ends only when its children have closed its output
    assert process.returncode == 130
    assert errors == INTERRUPTED
    assert left(folder / "tmp") == []
