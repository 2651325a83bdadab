"""``metavox telemetry on``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, clear_errors, tell
from metavox.telemetry.home.folders import Home
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.question.answering import Question


def on(
    purpose: Annotated[
        list[str] | None,
        typer.Option(metavar="PURPOSE", help="Yes to improve or publish, unasked; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """At a terminal, show the notice and ask for both purposes; Ctrl-C leaves everything as it was."""
    from metavox.telemetry.question.answering import Question

    if not console.on_terminals():  # a script, an image's build or a pipe cannot say yes for anybody
        console.fail("a yes needs a person at a terminal", code=2)
    named = None if purpose is None else _purposes(purpose)
    with clear_errors():
        question = Question.put(os.environ, Home.from_environment(os.environ), sys.stderr.encoding)
        given = ask(question) if not named else _show(question, named)
        if given is None:
            console.fail("nothing was answered, so everything is as it was")
        _record(question, given, as_json=as_json)


def ask(question: Question, *, is_deployment: bool = False) -> frozenset[Purpose] | None:
    """Put both questions on standard error; None when nothing was answered."""
    from metavox.telemetry.question.ask import Conversation, ask
    from metavox.telemetry.question.example import example

    console.forget_typed()
    where = Conversation(
        sys.stderr,
        console.read_line,
        console.columns(),
        example,
        language=question.language,
        is_deployment=is_deployment,
    )
    return ask(where, SCHEMA)


def _purposes(named: list[str]) -> frozenset[Purpose]:
    known = frozenset(purpose for purpose in PURPOSES if purpose in named)
    if len(known) != len(set(named)):
        console.fail(f"the purposes are {' and '.join(PURPOSES)}", code=2)
    return known


def _show(question: Question, named: frozenset[Purpose]) -> frozenset[Purpose]:
    from metavox.telemetry.question.ask import show_notice

    show_notice(sys.stderr, console.columns(), SCHEMA, question.language)
    return named


def _record(question: Question, purposes: frozenset[Purpose], *, as_json: bool) -> None:
    from metavox.telemetry.question.ask import wrapped
    from metavox.telemetry.question.wording import outcome

    given = question.answered(purposes)
    question.record(given)
    decided = question.home.consent(os.environ)
    replaced = bool(purposes) and question.was_yes
    facts = {"purposes": sorted(purposes), "on": decided.granted, "rule": decided.rule, "replaces_a_yes": replaced}
    lines = [outcome(given)]
    if replaced:
        lines.append("This replaces the earlier yes; what was counted under that one is never sent.")
    if purposes and not decided.granted:
        lines.append(f"Here and now it is still off: {decided.rule}.")
    columns = console.columns()
    tell(facts, *(wrapped(line, columns) for line in lines), as_json=as_json)
