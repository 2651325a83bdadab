"""The arrows between the packages hold, and the tool that checks them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOTS = ("sdk", "kernels", "privacy", "collector")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / root) for root in ROOTS)}
    tool = Path(sys.executable).with_name("lint-imports")
    command = [str(tool), "--config", str(folder / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def house(tmp_path):
    for root in ROOTS:
        shutil.copytree(ROOT / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_house_as_it_stands_keeps_every_contract(house):
    result = lint_imports(house)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("sdk/metavox/errors.py", "import metavox_collector", "never import each other"),
        ("collector/metavox_collector/close.py", "import metavox", "never import each other"),
        ("collector/metavox_collector/close.py", "import torch", "nothing of kernels or torch"),
        ("privacy/metavox_privacy/gate.py", "import torch", "Privacy has no HTTP"),
        ("privacy/metavox_privacy/gate.py", "import sqlite3", "Privacy has no HTTP"),
        ("privacy/metavox_privacy/release.py", "import opendp.prelude", "only the mechanism draws noise"),
        ("privacy/metavox_privacy/report.py", "import opentelemetry.proto", "only the wire knows protobuf"),
        ("kernels/metavox_kernels/dispatch.py", "import metavox_privacy.schema", "Kernels import torch"),
        ("sdk/metavox/engine/engine.py", "import metavox.telemetry.spans", "Floors inside the SDK"),
        ("sdk/metavox/layers/__init__.py", "import metavox.models", "Floors inside the SDK"),
        ("sdk/metavox/telemetry/home/folders.py", "import metavox.telemetry.journal", "Floors inside telemetry"),
        ("sdk/metavox/telemetry/foreign/aliases.py", "import metavox.telemetry.api", "Floors inside telemetry"),
        ("sdk/metavox/telemetry/journal/journal.py", "import http.client", "Only the transport opens a socket"),
        (
            "collector/metavox_collector/stage/stager.py",
            "import metavox_collector.close",
            "Floors inside the collector",
        ),
        ("collector/metavox_collector/close.py", "import sqlalchemy", "Only the store speaks SQL"),
        (
            "collector/metavox_collector/dataset/model.py",
            "import metavox_collector.dataset.emit",
            "Floors inside a dataset",
        ),
        (
            "collector/metavox_collector/estimate/rate.py",
            "import metavox_collector.store",
            "Floors inside the collector",
        ),
    ],
)
def test_a_forbidden_import_breaks_its_contract(house, module, line, contract):
    with (house / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(house)
    assert result.returncode != 0
    broken = [row for row in result.stdout.splitlines() if "BROKEN" in row]
    assert any(contract in row for row in broken), result.stdout
