"""The question: the notice, then each purpose by itself. What is not a clear yes is a no."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TextIO

from metavox.telemetry.question.wording import WORDING, Wording
from metavox.telemetry.upload.readable import as_base64, as_text
from metavox_privacy.consent import ASK_AGAIN_AFTER, DEPLOYMENT_LASTS, Answer
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import WORDS, Language, lay_out, notice, notice_hash
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
        is_made_up: Whether these bytes are of an invented run, and not of the one that has just been.
        language: The language of all words.
        is_deployment: Whether the answer is for servers and containers.
    """

    out: TextIO
    read_line: Callable[[], str]
    columns: int
    example: Example
    is_made_up: bool = True
    language: Language = "en"
    is_deployment: bool = False

    @property
    def words(self) -> Wording:
        """What is said around the question."""
        return WORDING[self.language]

    @property
    def whose(self) -> str:
        """Whose bytes ``p`` shows."""
        return self.words.made_up_run if self.is_made_up else self.words.this_run

    def say(self, text: str) -> None:
        """Print some words, wrapped."""
        print(self.wrapped(text), file=self.out)

    def wrapped(self, text: str) -> str:
        """Some words in lines that ``out`` can hold."""
        return wrapped(text, self.columns)


def wrapped(text: str, columns: int) -> str:
    """Some words in lines that so many columns can hold."""
    return "\n".join(textwrap.wrap(text, max(columns - 1, 20)))


def show_notice(out: TextIO, columns: int, schema: Schema, language: Language = "en") -> None:
    """Print the notice."""
    print(lay_out(notice(schema, language), columns), file=out)


def ask(conversation: Conversation, schema: Schema) -> frozenset[Purpose] | None:
    """Show the notice and ask both questions.

    Returns:
        The purposes that were agreed to, none of them being a no; None when the person answered nothing, by
        Ctrl-C or the end of the input, whatever was said to the first question.
    """
    try:
        show_notice(conversation.out, conversation.columns, schema, conversation.language)
        if conversation.is_deployment:
            conversation.say(conversation.words.deployment)
        conversation.say(WORDS[conversation.language].hint.format(example=conversation.whose))
        return frozenset(purpose for purpose in PURPOSES if _is_yes(conversation, purpose))
    except (KeyboardInterrupt, EOFError):
        print(file=conversation.out)
        return None


def answer(
    purposes: frozenset[Purpose],
    schema: Schema,
    now: datetime,
    *,
    language: Language = "en",
    collector: str | None = None,
    later: bool = False,
) -> Answer:
    """A person's answer to today's notice and list; ``later`` makes it a "not now".

    Args:
        purposes: What was agreed to.
        schema: The list that was shown.
        now: The moment of the answer.
        language: The language that it was shown in.
        collector: The collector that was named at that moment.
        later: Whether nothing was answered.
    """
    again = now + ASK_AGAIN_AFTER if later else None
    words = notice_hash(schema, language)
    return Answer(purposes, now, words, schema.version, language, ask_again_after=again, collector=collector)


def for_deployment(given: Answer) -> Answer:
    """The same answer for servers and containers, which ends by itself."""
    return replace(given, scope="deployment", expires_at=given.answered_at + DEPLOYMENT_LASTS)


def _is_yes(conversation: Conversation, purpose: Purpose) -> bool:
    words = WORDS[conversation.language]
    question = conversation.wrapped(f"{words.questions[purpose]} {words.choices}") + " "
    while True:
        print(question, end="", file=conversation.out, flush=True)
        try:
            line = conversation.read_line()
        except UnicodeDecodeError:  # a key of another keyboard is no yes
            return False
        if not line:
            raise EOFError
        reply = line.strip().lower()
        if reply != "p":
            return reply in words.yes
        _show(conversation)


def _show(conversation: Conversation) -> None:
    words, body = conversation.words, conversation.example(frozenset(PURPOSES))
    if body is None:
        conversation.say(words.nothing.format(whose=conversation.whose))
        return
    conversation.say(words.example)
    print(as_text(body, conversation.columns), file=conversation.out)
    print(words.base64.format(size=len(body)), file=conversation.out)
    print(as_base64(body, conversation.columns), file=conversation.out)
