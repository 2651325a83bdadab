"""The Typer application: a module a verb, each imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import typer

VERBS = (
    "serve",
    "close",
    "release",
    "ledger",
    "verify",
    "attacks",
    "audit",
    "simulate",
    "load",
    "outliers",
    "token",
    "doctor",
    "db",
    "keys",
)
"""Each is a function in a module, both of its own name; a module with an ``app`` has verbs of its own."""


def app_for(words: Sequence[str] = ()) -> typer.Typer:
    """The application for a command line: with the verb that it begins with alone, or with every one.

    What one verb needs takes 50 MB in a process that runs another, and ``serve`` runs for months.
    """
    app = typer.Typer(
        name="metavox-collector",
        help="Receive weekly reports, close weeks into private releases, write and verify their packs.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=lambda: None,  # so that a single verb has its name all the same
    )
    for verb in [verb for verb in VERBS if verb in words[:1]] or VERBS:
        module = import_module(f"metavox_collector.cli.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb)
        else:
            app.command()(getattr(module, verb))
    return app
