"""``metavox telemetry``: one verb for each thing a person may want."""

from __future__ import annotations

import typer

from metavox.cli.telemetry.answer import off, on
from metavox.cli.telemetry.preview import preview
from metavox.cli.telemetry.status import status
from metavox.cli.telemetry.upload import upload

app = typer.Typer(
    help="The anonymous statistics that you may contribute: off until you say yes.", no_args_is_help=True
)
for verb in (status, on, off, preview, upload):
    app.command()(verb)
