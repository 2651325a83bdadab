"""``metavox telemetry upload``."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import typer

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, clear_errors, tell
from metavox.telemetry.home.folders import Home
from metavox_privacy.schema import SCHEMA

if TYPE_CHECKING:
    from metavox.telemetry.journal.ledger import StoredReport
    from metavox.telemetry.upload.uploader import Outcome


def upload(as_json: AsJson = False) -> None:
    """Send the reports of completed weeks to the collector now, due or not."""
    from metavox.telemetry.journal.journal import Journal
    from metavox.telemetry.upload import weekly

    home, now = Home.from_environment(os.environ), datetime.now(timezone.utc)
    with clear_errors():
        consent = home.consent(os.environ)
        facts = {"on": consent.granted, "rule": consent.rule}
        if not consent.granted:
            said = f"Nothing was sent: contributions are off, {consent.rule}."
            tell({**facts, "reports": []}, said, as_json=as_json)
            return
        url = _collector()
        outcomes = weekly.upload(
            Journal(home.journal_file, consent, SCHEMA, now),
            consent,
            SCHEMA,
            now,
            url,
            decide=lambda: home.consent(os.environ),
            force=True,
        )
        unchanged = home.consent(os.environ).is_same(consent)
    told = [_facts(report, outcome) for report, outcome in outcomes]
    tell({**facts, "reports": told, "consent_changed": not unchanged}, *_lines(told, unchanged), as_json=as_json)
    if not all(one["outcome"] == "sent" for one in told):
        raise typer.Exit(1)


def _collector() -> str:
    from metavox.telemetry.upload.uploader import Address

    url = os.environ.get("METAVOX_COLLECTOR_URL", "")
    if not url:
        console.fail("no collector is configured, so nothing was sent; METAVOX_COLLECTOR_URL names one")
    try:
        Address.parse(url)
    except ValueError as error:
        console.fail(f"METAVOX_COLLECTOR_URL: {error}")
    return url


def _facts(report: StoredReport, outcome: Outcome) -> dict[str, Any]:
    from metavox.telemetry.upload.uploader import Refused, Sent

    if isinstance(outcome, Sent):
        return {"week": str(report.week), "outcome": "sent"}
    if isinstance(outcome, Refused):
        settled = "refused" if outcome.final else "kept"
        return {"week": str(report.week), "outcome": settled, "status": outcome.status}
    return {"week": str(report.week), "outcome": "kept", "reason": outcome.reason}


def _lines(told: list[dict[str, Any]], unchanged: bool) -> list[str]:
    if not unchanged:
        head = ["The consent has changed meanwhile, so nothing more was sent."]
    else:
        head = [] if told else ["Nothing was sent: no completed week is waiting."]
    return [*head, *(f"{one['week']}: {_in_words(one)}" for one in told)]


def _in_words(told: dict[str, Any]) -> str:
    if told["outcome"] == "sent":
        return "sent"
    kept = "it will not be sent again" if told["outcome"] == "refused" else "it is kept for another try"
    if "status" in told:
        return f"refused with status {told['status']}; {kept}"
    return f"not sent, the collector could not be reached ({told['reason']}); {kept}"
