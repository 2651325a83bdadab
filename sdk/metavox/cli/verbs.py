"""The Typer application, with every verb registered."""

from __future__ import annotations

from typing import Annotated

import typer

from metavox.cli import console, generate, telemetry
from metavox.cli.bench import bench
from metavox.cli.compare import compare
from metavox.cli.demo import demo
from metavox.cli.main import print_version

LEAST_COLUMNS = 60  # for frames and tables, which cut the names of options where the terminal is narrower

app = typer.Typer(
    name="metavox",
    help="A small, fast LLM inference SDK.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if console.columns() >= LEAST_COLUMNS else None,
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
app.command("compare")(compare)
app.command("demo")(demo)
app.add_typer(telemetry.app, name="telemetry")
