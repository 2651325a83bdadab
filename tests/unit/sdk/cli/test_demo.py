"""What the demo shows, without its minute of work; the whole of it runs in ``tests/e2e/test_demo.py``."""

from __future__ import annotations

import io
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from metavox.cli.demo import dataset
from metavox_privacy.week import Week
from tests.unit.sdk.cli.shared import run

CELL = {
    "key": ("NVIDIA GeForce RTX 4060 Laptop GPU", "Qwen/Qwen3-8B", "bfloat16", "17-64"),
    "contributors": 12345,
    "metrics": {
        "time_to_first_token": {"p50": 0.1234},
        "time_per_output_token": {"p50": 1 / 8765, "p90": 1 / 98.76},
    },
}
NUMBERS = ("17-64", "12345", "123 ms", "98.8", "8765")


def shown(monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    screen = Console(file=io.StringIO(), width=columns)
    monkeypatch.setattr(dataset, "cells", lambda folder: [CELL])
    dataset.show(screen, Path(), [])
    words: Any = screen.file
    return str(words.getvalue())


@pytest.mark.parametrize("columns", [*range(30, 130, 3), 71, 72, 200])
def test_no_number_is_cut_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int):
    text = shown(monkeypatch, columns)

    for number in NUMBERS:
        assert number in " ".join(text.split()), text
    assert max(map(len, text.splitlines())) <= columns


def test_a_folder_with_brackets_in_its_name_is_named_in_full(tmp_path: Path):
    folder = tmp_path / "[bold]data"
    folder.mkdir()
    (folder / "data").mkdir()
    (folder / "data" / "performance.parquet").touch()
    screen = Console(file=io.StringIO(), width=40)
    dataset.how_to_query(screen, folder)
    words: Any = screen.file

    assert words.getvalue().count(str(folder / "data" / "performance.parquet")) == 2


def test_without_a_temporary_folder_the_demo_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    result = run(tmp_path, "demo")

    assert result.exit_code == 1
    assert result.stderr == "metavox: no temporary folder can be made: No space left on device\n"


def test_a_folder_that_holds_this_weeks_dataset_already_is_told_at_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    now = datetime.now(timezone.utc)
    for week in (Week.of(now), Week.of(now + timedelta(minutes=5))):  # it may turn meanwhile
        (tmp_path / f"metavox-{week}-publish-synthetic").mkdir(exist_ok=True)
    result = run(tmp_path, "demo", "--out", str(tmp_path))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "never overwritten" in result.stderr


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("os.access", lambda _, mode: not mode & os.W_OK)  # the superuser may write everywhere
    result = run(tmp_path, "demo", "--out", str(tmp_path))

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"metavox: --out {tmp_path} cannot be written\n"
