"""The Typer application, with every verb registered."""

from __future__ import annotations

from typing import Annotated

import typer

from metavox.cli import generate, telemetry
from metavox.cli.bench import bench
from metavox.cli.demo import demo
from metavox.cli.main import print_version

app = typer.Typer(
    name="metavox",
    help="A small, fast LLM inference SDK.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print_version()
        raise typer.Exit


@app.callback()
def metavox(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A small, fast LLM inference SDK."""


app.command("generate")(generate.generate)
app.command("bench")(bench)
app.command("demo")(demo)
app.add_typer(telemetry.app, name="telemetry")
