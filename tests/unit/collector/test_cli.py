from __future__ import annotations

import importlib.util

import pytest

from metavox_collector.cli import main

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

        monkeypatch.setattr("metavox_collector.cli.verbs.app", fail)
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code, capsys.readouterr().err) == (1, f"metavox-collector: {words or failing}\n")
