"""``metavox telemetry on`` and ``off``: give an answer, or take it back."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from metavox.cli import console
from metavox.cli.telemetry.shared import clear_errors
from metavox.telemetry.home import Home
from metavox_privacy.consent import Unreadable
from metavox_privacy.fields import PURPOSES
from metavox_privacy.receipt import parse_receipt
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox_privacy.consent import Answer


def on(
    purpose: Annotated[
        list[str] | None, typer.Option(help="At a terminal: yes to improve or publish, unasked; may be repeated.")
    ] = None,
) -> None:
    """Show the notice and ask for both purposes."""
    from metavox.telemetry.ask import answer, show_notice

    if not console.on_terminals():  # a script, an image's build or a pipe cannot say yes for anybody
        console.fail("a yes needs a person at a terminal", code=2)
    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    if purpose:
        given = frozenset(known for known in PURPOSES if known in purpose)
        if len(given) != len(set(purpose)):
            console.fail(f"the purposes are {' and '.join(PURPOSES)}", code=2)
        show_notice(sys.stderr, console.columns(), SCHEMA)
        _record(home, answer(given, SCHEMA, now))
    else:
        _record(home, _ask(now))


def off(
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the journal too, with the tokens of built reports.")
    ] = False,
) -> None:
    """Record a no and delete the counts; from now on nothing is kept and nothing is sent."""
    home = Home.from_environment(os.environ)
    try:
        with clear_errors():
            _say_no(home)
    finally:  # whoever asks for the deletion gets it, whatever became of the no
        with clear_errors():
            (_delete if delete else _empty)(home)


def _ask(now: datetime) -> Answer:
    from metavox.telemetry.api import example
    from metavox.telemetry.ask import Conversation, ask

    console.forget_typed()
    where = Conversation(sys.stderr, console.read_line, console.columns(), example, "a made-up run")
    return ask(where, SCHEMA, now)


def _record(home: Home, given: Answer) -> None:
    from metavox.cli.first_run import outcome
    from metavox.telemetry.api import record

    with clear_errors():
        earlier = home.answer()
        record(home, given)
        console.answer(outcome(given))
        if given.purposes and _was_yes(earlier):
            console.answer("This replaces the earlier yes; what was counted under that one is never sent.")
        decided = home.consent(os.environ)
    if given.purposes and not decided.granted:
        console.answer(f"Here and now it is still off: {decided.rule}.")


def _was_yes(recorded: str | Unreadable | None) -> bool:
    given = parse_receipt(recorded) if isinstance(recorded, str) else None
    return given is not None and bool(given.purposes)


def _say_no(home: Home) -> None:
    """Record a no; where that fails, on a full disk above all, take the yes away: no file means off."""
    from metavox.telemetry.ask import answer

    try:
        home.record(answer(frozenset(), SCHEMA, datetime.now(timezone.utc)))
    except OSError as error:
        home.consent_file.unlink(missing_ok=True)
        console.note(f"The no could not be written ({error.strerror}), so the earlier answer was deleted instead.")
    console.answer("Contributions are off. Nothing more is kept or sent.")


def _empty(home: Home) -> None:
    from metavox.telemetry.journal import withdraw

    if not home.journal_file.exists():
        return
    tokens = withdraw(home)
    console.answer("The counts are deleted.")
    if tokens:
        console.answer(
            f"The tokens of reports that were sent, or may have been, stay in {home.journal_file}; "
            "'off --delete' prints and deletes them."
        )


def _delete(home: Home) -> None:
    from metavox.telemetry.journal import tried_reports

    existed = home.journal_file.exists()
    tokens = {report.week: report.token for report in tried_reports(home.journal_file)}
    if tokens:
        console.answer("These reports were sent, or may have been. Only their tokens can name them; keep them:")
    for week, token in tokens.items():
        console.answer(f"{week} {token.hex()}")
    home.delete_journal()
    console.answer(f"Deleted {home.journal_file}." if existed else "There was no journal to delete.")
