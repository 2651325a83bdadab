"""Running the command line as somebody whose environment decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from metavox.cli.verbs import app
from metavox_privacy.consent import CI_VARIABLES

SILENT: dict[str, str | None] = dict.fromkeys(
    (*CI_VARIABLES, "DO_NOT_TRACK", "METAVOX_TELEMETRY", "METAVOX_COLLECTOR_URL")
)


def run(home: Path, *arguments: str, **environment: str) -> Any:
    """One call of ``metavox``, with its files in ``home``; nothing is a terminal."""
    return CliRunner().invoke(app, arguments, env={**SILENT, "METAVOX_HOME": str(home), **environment})
