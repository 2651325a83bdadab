from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from metavox.telemetry.question.ask import Conversation, answer, ask, for_deployment
from metavox.telemetry.question.wording import WORDING, outcome
from metavox_privacy.consent import ASK_AGAIN_AFTER, DEPLOYMENT_LASTS
from metavox_privacy.fields import Purpose
from metavox_privacy.notice import LANGUAGES, WORDS, Language, notice_hash
from metavox_privacy.schema import SCHEMA
from tests.unit.sdk.telemetry.shared import NOW


def conversation(read_line: Callable[[], str], out: io.StringIO | None = None) -> Conversation:
    return Conversation(out or io.StringIO(), read_line, 80, lambda purposes: None)


def typing(*lines: str) -> Callable[[], str]:
    left = iter(lines)
    return lambda: next(left, "")


@pytest.mark.parametrize("reply", ["", "n", "no", "yep", "ye", "1", "true", "on", "si", "ok", "y y"])
def test_what_is_no_clear_yes_is_a_no(reply: str):
    assert ask(conversation(typing(f"{reply}\n", f"{reply}\n")), SCHEMA) == frozenset()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_yes_of_a_language_is_one_and_of_another_is_none(language: Language):
    there = replace(conversation(typing()), language=language)
    for reply in {yes for words in WORDS.values() for yes in words.yes}:
        given = ask(replace(there, read_line=typing(f" {reply.upper()} \n", "\n")), SCHEMA)
        assert given == ({"improve"} if reply in WORDS[language].yes else frozenset())


def test_a_key_that_is_no_letter_here_is_no_yes():
    lines = iter([b"\xff\xfe\n", b"y\n"])

    assert ask(conversation(lambda: next(lines).decode()), SCHEMA) == {"publish"}


@pytest.mark.parametrize("lines", [(), ("y\n",)], ids=["at once", "after the first"])
def test_the_end_of_the_input_answers_nothing(lines: tuple[str, ...]):
    assert ask(conversation(typing(*lines)), SCHEMA) is None


class Interrupted(io.StringIO):
    """A screen at which Ctrl-C is pressed while the notice is being written."""

    pressed = False

    def write(self, text: str) -> int:
        if not self.pressed and "SOLD" in text:
            self.pressed = True
            raise KeyboardInterrupt
        return super().write(text)


def test_ctrl_c_while_the_notice_is_written_answers_nothing():
    assert ask(conversation(lambda: pytest.fail("nothing is asked any more"), Interrupted()), SCHEMA) is None


def test_a_deployment_is_told_what_its_receipt_means():
    out = io.StringIO()
    ask(replace(conversation(typing("\n", "\n"), out), is_deployment=True), SCHEMA)

    assert " ".join(WORDING["en"].deployment.split()) in " ".join(out.getvalue().split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_is_to_the_words_of_its_language(language: Language):
    given = answer(frozenset({"improve"}), SCHEMA, NOW, language=language, collector="https://collector.example")

    assert given.notice == notice_hash(SCHEMA, language)
    assert (given.language, given.collector) == (language, "https://collector.example")
    assert (given.answered_at, given.ask_again_after, given.expires_at) == (NOW, None, None)


def test_not_now_is_over_after_half_a_year():
    assert answer(frozenset(), SCHEMA, NOW, later=True).ask_again_after == NOW + ASK_AGAIN_AFTER


def test_a_deployments_receipt_ends_after_a_year():
    given = for_deployment(answer(frozenset({"improve"}), SCHEMA, NOW))

    assert (given.scope, given.expires_at) == ("deployment", NOW + DEPLOYMENT_LASTS)
    assert timedelta(days=365) == DEPLOYMENT_LASTS


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_outcome_names_each_purpose_on_its_side(language: Language):
    given: frozenset[Purpose] = frozenset({"publish"})
    said = outcome(answer(given, SCHEMA, NOW, language=language))
    nothing = [outcome(answer(frozenset(), SCHEMA, NOW, language=language, later=later)) for later in (True, False)]

    assert said.index("publish") < said.index("improve")
    assert len({said, *nothing}) == 3


def test_the_words_around_the_question_are_of_old_terminals_too():
    for words in WORDING.values():
        "".join(str(getattr(words, name)) for name in words.__slots__).encode("cp437")
