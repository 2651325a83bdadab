"""``metavox telemetry doctor``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone

import typer

from metavox.cli.telemetry.checks import Check, check_all
from metavox.cli.telemetry.shared import AsJson, tell
from metavox.telemetry.home.folders import Home


def doctor(as_json: AsJson = False) -> None:
    """Look at everything that could be wrong, and say what to do; opens no connection and writes nothing."""
    checks = check_all(Home.from_environment(os.environ), os.environ, datetime.now(timezone.utc))
    is_well = all(check.state != "problem" for check in checks)
    tell({"ok": is_well, "checks": [asdict(check) for check in checks]}, *_lines(checks), as_json=as_json)
    if not is_well:
        raise typer.Exit(1)


def _lines(checks: list[Check]) -> Iterator[str]:
    for check in checks:
        advice = f" -> {check.do}" if check.do else ""
        yield f"{check.state:<8} {check.name}: {check.said}{advice}"
