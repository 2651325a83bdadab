"""The verbs together, each with what its exit code means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from metavox.cli.telemetry.authorize import authorize
from metavox.cli.telemetry.diff import diff
from metavox.cli.telemetry.doctor import doctor
from metavox.cli.telemetry.export import export
from metavox.cli.telemetry.journal import journal
from metavox.cli.telemetry.off import off
from metavox.cli.telemetry.on import on
from metavox.cli.telemetry.preview import preview
from metavox.cli.telemetry.receipt import receipt
from metavox.cli.telemetry.status import status
from metavox.cli.telemetry.upload import upload

app = typer.Typer(
    help="The anonymous statistics that you may contribute: off until you say yes.", no_args_is_help=True
)

VERBS: dict[Callable[..., Any], str] = {
    status: "0 always, on or off",
    on: "0 the answer is recorded; 1 nothing was answered, or it could not be recorded; 2 nobody is at a terminal",
    off: "0 done; 1 something could not be done, and the rest is",
    preview: "0 shown, or there is nothing to show; 1 the journal cannot be read",
    journal: "0 shown, or it is empty; 1 it cannot be read",
    diff: "0 shown, changed or not; 1 the answer cannot be read",
    receipt: "0 shown, or nobody has answered; 1 it cannot be read or understood",
    export: "0 written; 1 something could not be read, or the file is there already",
    authorize: "0 minted; 1 nothing was granted, or it could not be written; 2 nobody is at a terminal",
    upload: "0 all that waited was sent, or nothing did; 1 something was not sent, or no collector is named",
    doctor: "0 all is well; 1 there is a problem",
}
"""Each verb with its exit codes; 2 is any verb that was called wrongly."""

for verb, codes in VERBS.items():
    app.command(epilog=f"Exit: {codes}.")(verb)
