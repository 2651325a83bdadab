"""What the tests of the verbs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from metavox.cli import console


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sits there."""
    monkeypatch.setattr(console, "on_terminals", lambda **_: True)
