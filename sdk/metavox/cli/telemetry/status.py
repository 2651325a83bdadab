"""``metavox telemetry status``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from metavox.cli import console
from metavox.cli.telemetry.shared import AsJson, clear_errors


def status(as_json: AsJson = False) -> None:
    """Say whether contributions are on, which rule decided, and where the files are."""
    from metavox.telemetry.api import status as look

    with clear_errors():
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


def _present(path: Path) -> str:
    there = os.path.exists(path)  # Path.exists raises where a folder on the way is closed to us
    return str(path) if there else f"none (would be {path})"
