from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import typer

from metavox_collector.cli import main
from metavox_collector.cli.verbs import VERBS, app_for

EXTRA = ("fastapi", "google.rpc", "httpx", "opendp", "pyarrow", "pydantic_settings", "sqlalchemy", "uvicorn")


@pytest.mark.parametrize("missing", EXTRA)
def test_a_missing_part_of_the_extra_is_named_with_what_to_install(monkeypatch, capsys, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    monkeypatch.setattr("sys.argv", ["metavox-collector", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f'metavox-collector: {missing} not installed. Run: pip install "metavox[collector]"\n'
    )


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys):
    for failing, words in (
        (FileNotFoundError(2, "No such file or directory", "x"), "x: No such file or directory"),
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"), None),
    ):

        def fail(failing=failing):
            raise failing

        monkeypatch.setattr("metavox_collector.cli.verbs.app_for", lambda _, fail=fail: fail)
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code, capsys.readouterr().err) == (1, f"metavox-collector: {words or failing}\n")


def test_a_verb_is_found_alone_and_among_all_and_does_not_import_the_others():
    everything = typer.main.get_command(app_for())
    assert set(everything.commands) == set(VERBS)
    for verb in VERBS:
        alone = typer.main.get_command(app_for([verb, "--help"]))
        assert list(alone.commands) == [verb]
        assert alone.commands[verb].help == everything.commands[verb].help
    code = "import sys; from metavox_collector.cli.verbs import app_for; app_for(['serve']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "opendp", "numpy"} & {*done.stdout.split()}
