"""``metavox telemetry status``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from metavox.cli.telemetry.shared import AsJson, clear_errors, tell
from metavox.telemetry.home.private_files import NOWHERE

if TYPE_CHECKING:
    from metavox.telemetry.api import Status


def status(as_json: AsJson = False) -> None:
    """Say whether contributions are on, which rule decided, where the files are, and who else sends telemetry."""
    from metavox.telemetry.api import status as look

    with clear_errors():
        found = look()
    tell(asdict(found), *_lines(found), as_json=as_json)


def _lines(found: Status) -> Iterator[str]:
    yield f"Contributions are {'on' if found.on else 'off'}: {found.rule}."
    yield f"Purposes:     {', '.join(found.purposes) or 'none'}"
    if found.since is not None:
        yield f"Since:        {found.since:%Y-%m-%d %H:%M} UTC; nothing from before is counted"
    yield f"Consent file: {_present(found.consent_file)}"
    if found.receipt_file is not None:
        yield f"Receipt:      {found.receipt_file}"
    yield f"Journal:      {_present(found.journal_file)}"
    if found.problem is not None:
        yield f"              cannot be read: {found.problem}"
    yield f"Weeks:        {', '.join(_week(found, week) for week in found.weeks) or 'none'}"
    yield f"Collector:    {found.collector or 'none; METAVOX_COLLECTOR_URL names one'}"
    yield from _others(found)


def _week(found: Status, week: str) -> str:
    due_at = found.due_at.get(week)
    return f"{week} {found.weeks[week]}" + (f" (to be sent from {due_at:%Y-%m-%d %H:%M} UTC)" if due_at else "")


def _others(found: Status) -> Iterator[str]:
    if not found.others:
        yield "Others here:  none that we know of sends telemetry"
        return
    yield "Others here that send telemetry of their own:"
    for other in found.others:
        elsewhere = f", or {other.elsewhere}" if other.elsewhere else ""
        yield f"  {other.library}: {other.sends}. Off: {other.switch_off}{elsewhere}"


def _present(path: Path) -> str:
    if NOWHERE in path.parents:
        return "none; there is no home folder, and METAVOX_HOME can name one"
    there = os.path.exists(path)  # Path.exists raises where a folder on the way is closed to us
    return str(path) if there else f"none (would be {path})"
