"""``metavox telemetry diff``."""

from __future__ import annotations

import os

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, tell
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import Unreadable, names_another_collector
from metavox_privacy.schema import SCHEMA


def diff(as_json: AsJson = False) -> None:
    """Show exactly what has changed between what you answered to and what this release would send and say."""
    from metavox.telemetry.question.answering import collector_named
    from metavox_privacy.declaration import difference, terms
    from metavox_privacy.receipt import agreed_terms, parse_receipt

    home = Home.from_environment(os.environ)
    text = home.answer()
    if text is None:
        said = "Nobody has answered, so there is nothing to compare; 'metavox telemetry on' shows what there is."
        tell({"answered_at": None, "difference": []}, said, as_json=as_json)
        return
    given, agreed = (None, None) if isinstance(text, Unreadable) else (parse_receipt(text), agreed_terms(text))
    if given is None or agreed is None:
        console.fail(f"{home.consent_file} cannot be read or understood, so there is nothing to compare with")
    lines = difference(agreed, terms(SCHEMA, given.language))
    if given.purposes and names_another_collector(os.environ, given):
        lines.append(f"~ collector: {given.collector} -> {collector_named(os.environ) or 'what is no address'}")
    facts = {"answered_at": given.answered_at, "difference": lines}
    if not lines:
        tell(facts, f"Nothing has changed since the answer of {given.answered_at:%Y-%m-%d}.", as_json=as_json)
        return
    head = f"Changed since the answer of {given.answered_at:%Y-%m-%d} (+ new, - gone, ~ another):"
    paused = ["A yes pauses until you have seen this and agreed: 'metavox telemetry on'."] if given.purposes else []
    tell(facts, head, *lines, *paused, as_json=as_json)
