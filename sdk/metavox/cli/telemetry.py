"""``metavox telemetry status|on|off|preview|upload``: one verb for each thing a person may want."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metavox.cli import console
from metavox.telemetry.home import Home
from metavox_privacy.consent import Unreadable, parse_answer
from metavox_privacy.fields import PURPOSES
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week

if TYPE_CHECKING:
    from metavox.telemetry.journal import Journal
    from metavox.telemetry.uploader import Address
    from metavox.telemetry.weekly import Preview
    from metavox_privacy.consent import Answer, Consent

app = typer.Typer(
    help="The anonymous statistics that you may contribute: off until you say yes.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say whether contributions are on, which rule decided, and where the files are."""
    from metavox.telemetry.api import status as look

    with _clear_errors():
        found = look()
    facts = {**asdict(found), "collector": os.environ.get("METAVOX_COLLECTOR_URL")}
    if as_json:
        console.answer(json.dumps(facts, indent=2, default=str))
        return
    weeks = ", ".join(f"{week} {state}" for week, state in found.weeks.items())
    console.answer(f"Contributions are {'on' if found.on else 'off'}: {found.rule}.")
    console.answer(f"Purposes:     {', '.join(found.purposes) or 'none'}")
    console.answer(f"Consent file: {_present(found.consent_file)}")
    console.answer(f"Journal:      {_present(found.journal_file)}")
    console.answer(f"Weeks:        {weeks or 'none'}")
    console.answer(f"Collector:    {facts['collector'] or 'none; METAVOX_COLLECTOR_URL names one'}")


@app.command()
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


@app.command()
def off(
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the journal too, with the tokens of built reports.")
    ] = False,
) -> None:
    """Record a no and delete the counts; from now on nothing is kept and nothing is sent."""
    home = Home.from_environment(os.environ)
    try:
        with _clear_errors():
            _say_no(home)
    finally:  # whoever asks for the deletion gets it, whatever became of the no
        with _clear_errors():
            (_delete if delete else _empty)(home)


@app.command()
def preview(
    raw: Annotated[bool, typer.Option("--raw", help="Write the exact bytes to standard output.")] = False,
    week: Annotated[
        str | None, typer.Option(help="An ISO week, such as 2026-W47; else the next to be sent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show byte for byte what would be sent, or was."""
    from metavox.telemetry import readable, weekly

    wanted = None if week is None else _week(week)
    _check_form(raw=raw, as_json=as_json)
    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    with _clear_errors():
        consent = home.consent(os.environ, SCHEMA.version)
        shown = weekly.preview(_journal(home, consent, now), consent, SCHEMA, now) if consent.granted else []
    chosen = _choose(shown, wanted)
    if chosen is None:
        counts = "no counts." if wanted is None else f"no counts of {wanted}."
        console.note("Nothing would be sent: " + (counts if consent.granted else f"off, {consent.rule}."))
    elif raw:
        sys.stdout.buffer.write(chosen.body)
        sys.stdout.buffer.flush()
    elif as_json:
        facts = {"week": str(chosen.report.week), "bytes": len(chosen.body), "sha256": readable.sha256(chosen.body)}
        console.answer(json.dumps({**facts, "content": readable.as_document(chosen.body)}))
    else:
        console.answer(readable.as_text(chosen.body, console.columns()))
        console.note(_when(chosen))


@app.command()
def upload() -> None:
    """Send the reports of completed weeks to the collector now."""
    from metavox.telemetry import uploader, weekly

    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    with _clear_errors():
        consent = home.consent(os.environ, SCHEMA.version)
        if not consent.granted:
            console.answer(f"Nothing was sent: contributions are off, {consent.rule}.")
            return
        address = _collector()
        outcomes = weekly.upload(
            _journal(home, consent, now),
            consent,
            SCHEMA,
            now,
            lambda body: uploader.send(body, address),
            decide=lambda: home.consent(os.environ, SCHEMA.version),
        )
        unchanged = home.consent(os.environ, SCHEMA.version) == consent
    if not unchanged:
        console.answer("The consent has changed meanwhile, so nothing more was sent.")
    elif not outcomes:
        console.answer("Nothing was sent: no completed week is waiting.")
    for report, outcome in outcomes:
        console.answer(f"{report.week}: {_in_words(outcome)}")
    if not all(isinstance(outcome, uploader.Sent) for _, outcome in outcomes):
        raise typer.Exit(1)


def _ask(now: datetime) -> Answer:
    from metavox.telemetry.api import example
    from metavox.telemetry.ask import Conversation, ask

    console.forget_typed()
    where = Conversation(sys.stderr, console.read_line, console.columns(), example, "a made-up run")
    return ask(where, SCHEMA, now)


def _record(home: Home, given: Answer) -> None:
    from metavox.cli.first_run import outcome
    from metavox.telemetry.api import record

    with _clear_errors():
        earlier = home.answer()
        record(home, given)
        console.answer(outcome(given))
        if given.purposes and _was_yes(earlier):
            console.answer("This replaces the earlier yes; what was counted under that one is never sent.")
        decided = home.consent(os.environ, SCHEMA.version)
    if given.purposes and not decided.granted:
        console.answer(f"Here and now it is still off: {decided.rule}.")


def _was_yes(recorded: str | Unreadable | None) -> bool:
    given = parse_answer(recorded) if isinstance(recorded, str) else None
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
    from metavox.telemetry.journal import built_tokens

    existed = home.journal_file.exists()
    tokens = built_tokens(home.journal_file)
    if tokens:
        console.answer("These reports were sent, or may have been. Only their tokens can name them; keep them:")
    for week, token in tokens.items():
        console.answer(f"{week} {token.hex()}")
    home.delete_journal()
    console.answer(f"Deleted {home.journal_file}." if existed else "There was no journal to delete.")


def _journal(home: Home, consent: Consent, now: datetime) -> Journal:
    from metavox.telemetry.journal import Journal

    return Journal(home.journal_file, consent, SCHEMA, now)


def _collector() -> Address:
    from metavox.telemetry.uploader import Address

    url = os.environ.get("METAVOX_COLLECTOR_URL", "")
    if not url:
        console.fail("no collector is configured, so nothing was sent; METAVOX_COLLECTOR_URL names one")
    try:
        return Address.parse(url)
    except ValueError as error:
        console.fail(f"METAVOX_COLLECTOR_URL: {error}")


def _week(text: str) -> Week:
    try:
        return Week.parse(text)
    except ValueError as error:
        console.fail(f"--week: {error}", code=2)


def _check_form(*, raw: bool, as_json: bool) -> None:
    if raw and as_json:
        console.fail("--raw and --json are two forms of one answer; choose one", code=2)
    if raw and sys.stdout.isatty():
        console.fail("--raw writes bytes that no terminal can show; send them to a file or a pipe", code=2)


def _choose(shown: list[Preview], week: Week | None) -> Preview | None:
    """The week that was asked for, else the oldest one that is not settled."""
    if week is not None:
        return next((one for one in shown if one.report.week == week), None)
    return next((one for one in shown if one.report.outcome is None), None)


def _when(shown: Preview) -> str:
    if shown.report.outcome is not None:
        return f"Week {shown.report.week} was {shown.report.outcome}."
    if shown.complete:
        return f"Week {shown.report.week} is over: this is what the next upload sends."
    return f"Week {shown.report.week} is still counting: this is what would be sent if it ended now."


def _in_words(outcome: object) -> str:
    from metavox.telemetry.uploader import Refused, Sent, Unreachable

    if isinstance(outcome, Sent):
        return "sent"
    if isinstance(outcome, Refused):
        kept = "it will not be sent again" if outcome.final else "it is kept for another try"
        said = f" ({outcome.message})" if outcome.message else ""
        return f"refused with status {outcome.status}{said}; {kept}"
    assert isinstance(outcome, Unreachable)
    return f"not sent, the collector could not be reached ({outcome.reason}); it is kept for another try"


def _present(path: Path) -> str:
    there = os.path.exists(path)  # Path.exists raises where a folder on the way is closed to us
    return str(path) if there else f"none (would be {path})"


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever was listening has gone, and is told nothing
        raise
    except OSError as error:
        console.fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except sqlite3.Error as error:
        console.fail(f"the journal cannot be used: {error}")
