from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from metavox.cli.verbs import app
from tests.unit.sdk.cli.shared import SILENT, run


def test_text_is_printed_and_nothing_is_asked_or_kept_without_a_terminal(tmp_path: Path):
    home = tmp_path / "home"
    result = run(home, "generate", "Once upon a time", "The dog", "--max-tokens", "8", "--temperature", "0")

    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert len(result.stdout.strip()) > 10
    assert not home.exists()


def test_a_dash_reads_a_prompt_from_standard_input():
    from typer.testing import CliRunner

    arguments = ["generate", "-", "--max-tokens", "8", "--temperature", "0"]
    piped = CliRunner().invoke(app, arguments, input="Once upon a time", env=SILENT)
    given = CliRunner().invoke(app, ["generate", "Once upon a time", *arguments[2:]], env=SILENT)

    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout == given.stdout


def test_settings_of_a_checkpoint_that_cannot_be_met_are_told_and_can_be_set_aside(tmp_path: Path):
    model = shutil.copytree(str(files("metavox") / "tiny"), tmp_path / "model")
    (model / "generation_config.json").write_text('{"repetition_penalty": 1.1, "eos_token_id": 0}')
    arguments = ["generate", "Once upon a time", "--model", str(model), "--max-tokens", "4"]
    refused = run(tmp_path, *arguments)
    done = run(tmp_path, *arguments, "--temperature", "0")

    assert refused.exit_code == 1
    assert "repetition_penalty = 1.1" in refused.stderr
    assert "On the command line, --temperature sets them aside." in refused.stderr
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["generate", "Hello", "--model", "no/such/folder/at/all"], 1),
        (["generate", "Hello", "--temperature", "-1"], 1),
        (["generate", "Hello", "--device", "abacus"], 1),
        (["generate"], 2),
        (["generate", "Hello", "--no-such-option"], 2),
        (["no-such-verb"], 2),
    ],
    ids=str,
)
def test_what_goes_wrong_is_told_on_standard_error(tmp_path: Path, arguments: list[str], code: int):
    result = run(tmp_path, *arguments)

    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr
    if code == 1:
        assert result.stderr.startswith("metavox: ")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_the_terminal_does_not_have_breaks_nothing(tmp_path: Path, encoding: str):
    home = bytes(tmp_path / "home") + "\N{HIRAGANA LETTER A}".encode()  # bytes: the tests' own locale may be C
    script = "import sys; sys.argv = ['metavox', 'telemetry', 'status']; from metavox.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "METAVOX_HOME": home, "PYTHONIOENCODING": encoding},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"consent.json" in done.stdout


def test_the_version_is_told_without_importing_anything_heavy():
    script = (
        "import sys; sys.argv = ['metavox', '--version']; from metavox.cli import main; main(); "
        "assert not {'torch', 'typer', 'opentelemetry'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == run(Path("unused"), "--version").stdout.strip()
