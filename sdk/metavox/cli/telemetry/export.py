"""``metavox telemetry export``: access and portability (GDPR Art. 15 and 20), without asking anybody."""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metavox.cli import console
from metavox.cli.telemetry.journal import as_facts
from metavox.cli.telemetry.shared import AsJson, Out, clear_errors, json_of, write_new
from metavox.errors import MetaVoxError
from metavox.telemetry.home.folders import Home
from metavox_privacy.consent import Unreadable

if TYPE_CHECKING:
    from metavox.telemetry.journal.holdings import HeldWeek


def export(out: Out = None, as_json: AsJson = False) -> None:
    """Write all that is held about you as one JSON document; --json on one line. Tokens are in it: keep it."""
    with clear_errors():
        document = held(Home.from_environment(os.environ), datetime.now(timezone.utc))
        text = json_of(document, indent=None if as_json else 2)
        if out is not None:
            write_new(out, text + "\n")
    if out is None:
        console.answer(text)
    else:
        console.note(f"Wrote {out}.")


def held(home: Home, now: datetime) -> dict[str, Any]:
    """All that is held, as plain data.

    Raises:
        MetaVoxError, OSError, sqlite3.Error: something is there that cannot be read.
    """
    from metavox.telemetry.journal.holdings import holdings

    return {
        "exported_at": now,
        "about": "All that MetaVox holds of this user on this machine. A report that was sent is at the collector "
        "that its line names, under the SHA-256 of its token, until its week is closed.",
        "consent": {"file": home.consent_file, "receipt": _receipt(home)},
        "journal": {
            "file": home.journal_file,
            "weeks": [_week(week) for week in holdings(home.journal_file).weeks],
        },
        "damaged_journal": {"file": home.damaged_file, "base64": _bytes(home.damaged_file)},
    }


def _receipt(home: Home) -> Any:
    text = home.answer()
    if isinstance(text, Unreadable):
        raise MetaVoxError(
            f"{home.consent_file} cannot be read, so this would not be all; 'metavox telemetry doctor' says more"
        )
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text  # whatever it is, it is theirs


def _week(week: HeldWeek) -> dict[str, Any]:
    from metavox.telemetry.upload.readable import as_document, sha256

    facts = {**as_facts(week), "token": week.report.token.hex(), "report": None}
    body = week.report.body
    if body is not None:
        facts["report"] = {"base64": _encoded(body), "sha256": sha256(body), "content": as_document(body)}
    return facts


def _bytes(path: Path) -> str | None:
    return _encoded(path.read_bytes()) if os.path.lexists(path) else None


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
