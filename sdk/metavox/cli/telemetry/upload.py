"""``metavox telemetry upload``."""

from __future__ import annotations

import os
from datetime import datetime, timezone

import typer

from metavox.cli import console
from metavox.cli.telemetry.shared import clear_errors, open_journal
from metavox.telemetry.home import Home
from metavox_privacy.schema import SCHEMA


def upload() -> None:
    """Send the reports of completed weeks to the collector now."""
    from metavox.telemetry import uploader, weekly

    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    with clear_errors():
        consent = home.consent(os.environ)
        if not consent.granted:
            console.answer(f"Nothing was sent: contributions are off, {consent.rule}.")
            return
        url = _collector()
        outcomes = weekly.upload(
            open_journal(home, consent, now),
            consent,
            SCHEMA,
            now,
            url,
            decide=lambda: home.consent(os.environ),
            force=True,
        )
        unchanged = home.consent(os.environ) == consent
    if not unchanged:
        console.answer("The consent has changed meanwhile, so nothing more was sent.")
    elif not outcomes:
        console.answer("Nothing was sent: no completed week is waiting.")
    for report, outcome in outcomes:
        console.answer(f"{report.week}: {_in_words(outcome)}")
    if not all(isinstance(outcome, uploader.Sent) for _, outcome in outcomes):
        raise typer.Exit(1)


def _collector() -> str:
    from metavox.telemetry.uploader import Address

    url = os.environ.get("METAVOX_COLLECTOR_URL", "")
    if not url:
        console.fail("no collector is configured, so nothing was sent; METAVOX_COLLECTOR_URL names one")
    try:
        Address.parse(url)
    except ValueError as error:
        console.fail(f"METAVOX_COLLECTOR_URL: {error}")
    return url


def _in_words(outcome: object) -> str:
    from metavox.telemetry.uploader import Refused, Sent, Unreachable

    if isinstance(outcome, Sent):
        return "sent"
    if isinstance(outcome, Refused):
        kept = "it will not be sent again" if outcome.final else "it is kept for another try"
        return f"refused with status {outcome.status}; {kept}"
    assert isinstance(outcome, Unreachable)
    return f"not sent, the collector could not be reached ({outcome.reason}); it is kept for another try"
