"""The Typer application, with every verb registered."""

from __future__ import annotations

import typer

from metavox_collector.cli import close, db, doctor, export, load, outliers, serve, simulate, token

app = typer.Typer(
    name="metavox-collector",
    help="Receive weekly reports, close weeks into private releases, export them as datasets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve.serve)
app.command()(close.close)
app.command()(export.export)
app.command()(simulate.simulate)
app.command()(load.load)
app.command()(outliers.outliers)
app.command()(token.token)
app.command()(doctor.doctor)
app.add_typer(db.app, name="db")
