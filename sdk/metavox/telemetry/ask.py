"""The question: the notice, then each purpose by itself. What is not a clear yes is a no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

from metavox.telemetry.readable import as_base64, as_text
from metavox_privacy.consent import ASK_AGAIN_AFTER, Answer
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import QUESTIONS, lay_out, notice, notice_hash
from metavox_privacy.schema import Schema

Example = Callable[[frozenset[Purpose]], bytes | None]
"""The bytes that would be contributed, for the purposes that were agreed to."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Where the question is asked.

    Attributes:
        out: Where the words go.
        read_line: Gives the typed line with its newline, ``""`` at the end of the input.
        columns: How wide ``out`` is.
        example: What ``p`` shows.
        example_of: Whose bytes these are, in words.
    """

    out: TextIO
    read_line: Callable[[], str]
    columns: int
    example: Example
    example_of: str


def show_notice(out: TextIO, columns: int, schema: Schema) -> None:
    """Print the notice."""
    print(lay_out(notice(schema), columns), file=out)


def ask(conversation: Conversation, schema: Schema, now: datetime) -> Answer:
    """Show the notice, ask both questions, and give back the answer, which the caller records.

    Ctrl-C and the end of the input are a "not now", whatever was answered before.
    """
    try:
        show_notice(conversation.out, conversation.columns, schema)
        print(
            f"Enter means no; p shows the exact bytes {conversation.example_of} would add.", file=conversation.out
        )
        given = frozenset(purpose for purpose in PURPOSES if _is_yes(conversation, purpose))
    except (KeyboardInterrupt, EOFError):
        print(file=conversation.out)
        return answer(frozenset(), schema, now, later=True)
    return answer(given, schema, now)


def answer(purposes: frozenset[Purpose], schema: Schema, now: datetime, *, later: bool = False) -> Answer:
    """An answer to today's notice and list; ``later`` makes it a "not now"."""
    return Answer(
        purposes, now, notice_hash(schema), schema.version, ask_again_after=now + ASK_AGAIN_AFTER if later else None
    )


def _is_yes(conversation: Conversation, purpose: Purpose) -> bool:
    while True:
        print(f"{QUESTIONS['en'][purpose]} [y/N] ", end="", file=conversation.out, flush=True)
        try:
            line = conversation.read_line()
        except UnicodeDecodeError:  # a key of another keyboard is no yes
            return False
        if not line:
            raise EOFError
        reply = line.strip().lower()
        if reply != "p":
            return reply in ("y", "yes")
        _show(conversation)


def _show(conversation: Conversation) -> None:
    body = conversation.example(frozenset(PURPOSES))
    if body is None:
        print(f"{conversation.example_of} would add nothing.".capitalize(), file=conversation.out)
        return
    print("An example: what ran before a yes is never counted.", file=conversation.out)
    print(as_text(body, conversation.columns), file=conversation.out)
    print(f"The same {len(body)} bytes in base64:", file=conversation.out)
    print(as_base64(body, conversation.columns), file=conversation.out)
