"""``metavox telemetry receipt``."""

from __future__ import annotations

import os

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, tell
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import Unreadable


def receipt(as_json: AsJson = False) -> None:
    """Print the record of your answer, yes or no: JSON-LD after ISO/IEC TS 27560."""
    import json

    from metavox_privacy.receipt import parse_receipt

    home = Home.from_environment(os.environ)
    recorded = home.answer()
    if isinstance(recorded, Unreadable):
        console.fail(f"{home.consent_file} cannot be read; 'metavox telemetry doctor' says more")
    if recorded is None:
        console.note("Nobody has answered, so there is no receipt.")
        tell({"file": home.consent_file, "receipt": None}, as_json=True) if as_json else None
        return
    if parse_receipt(recorded) is None:
        console.fail(f"{home.consent_file} is no receipt that this release understands, so contributions are off")
    facts = {"file": home.consent_file, "receipt": json.loads(recorded)}
    tell(facts, recorded.rstrip("\n"), as_json=as_json)
