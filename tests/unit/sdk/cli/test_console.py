"""What the verbs share at a terminal."""

from __future__ import annotations

import io
import time

import pytest

from metavox.cli import console


class Terminal(io.TextIOWrapper):
    """A terminal that has the letters of one encoding, and tells the rest by their numbers."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="backslashreplace", write_through=True)

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("encoding", "is_shown"), [("utf-8", True), ("ascii", False), ("iso8859-1", False)])
def test_what_turns_is_made_of_letters_that_the_terminal_has(monkeypatch, encoding, is_shown):
    terminal = Terminal(encoding)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with console.watched() as say:
        say("Loading")
        time.sleep(0.2)
    shown = terminal.buffer.getvalue()

    assert b"Loading" in shown
    assert (b"\xe2\xa0" in shown) == is_shown  # the first bytes of every Braille letter
    assert b"\\u" not in shown
