"""``metavox telemetry preview``."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, clear_errors
from metavox.telemetry.home.folders import Home
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week

if TYPE_CHECKING:
    from metavox.telemetry.upload.weekly import Preview


def preview(
    raw: Annotated[bool, typer.Option("--raw", help="Write the exact bytes to standard output.")] = False,
    week: Annotated[
        str | None,
        typer.Option(metavar="WEEK", help="An ISO week, such as 2026-W47; else the next to be sent."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show byte for byte what would be sent, or was."""
    from metavox.telemetry.journal.holdings import view
    from metavox.telemetry.upload import readable, weekly

    wanted = None if week is None else _week(week)
    _check_form(raw=raw, as_json=as_json)
    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    with clear_errors():
        consent = home.consent(os.environ)
        held = view(home.journal_file, consent, SCHEMA, now)
        shown = weekly.preview(held, consent, SCHEMA, now) if consent.granted else []
    chosen = _choose(shown, wanted)
    if chosen is None:
        counts = "no counts." if wanted is None else f"no counts of {wanted}."
        console.note("Nothing would be sent: " + (counts if consent.granted else f"off, {consent.rule}."))
        if as_json:
            console.answer("null")
    elif raw:
        sys.stdout.buffer.write(chosen.body)
        sys.stdout.buffer.flush()
    elif as_json:
        facts = {"week": str(chosen.report.week), "bytes": len(chosen.body), "sha256": readable.sha256(chosen.body)}
        console.answer(json.dumps({**facts, "content": readable.as_document(chosen.body)}))
    else:
        console.answer(readable.as_text(chosen.body, console.columns()))
        console.note(_when(chosen))


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
