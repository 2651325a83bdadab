from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from metavox.telemetry.ask import Conversation, ask
from metavox_privacy.consent import ASK_AGAIN_AFTER, Answer
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.telemetry.shared import NOW


def answered(read_line: Callable[[], str], out: io.StringIO | None = None) -> Answer:
    return ask(Conversation(out or io.StringIO(), read_line, 80, lambda purposes: None, "a run"), SCHEMA, NOW)


def test_a_key_that_is_no_letter_here_is_no_yes():
    lines = iter([b"\xff\xfe\n", b"y\n"])

    assert answered(lambda: next(lines).decode()).purposes == {"publish"}


class Interrupted(io.StringIO):
    """A screen at which Ctrl-C is pressed while the notice is being written."""

    pressed = False

    def write(self, text: str) -> int:
        if not self.pressed and "SOLD" in text:
            self.pressed = True
            raise KeyboardInterrupt
        return super().write(text)


def test_ctrl_c_while_the_notice_is_written_is_not_now():
    given = answered(lambda: pytest.fail("nothing is asked any more"), Interrupted())

    assert given.purposes == frozenset()
    assert given.ask_again_after == NOW + ASK_AGAIN_AFTER
