"""``metavox-collector db``: bring a database up to date, back it up, restore it, check it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metavox_collector import settings
from metavox_collector.cli.findings import show
from metavox_collector.cli.options import Config, Db, Json
from metavox_collector.clock import utc_now
from metavox_collector.operate import backup as backups
from metavox_collector.operate import restore as restoring
from metavox_collector.operate.check import check as look
from metavox_collector.store import Database
from metavox_collector.store.migrations import HEAD
from metavox_privacy.schema import SCHEMA

app = typer.Typer(help="Bring the database up to date, back it up, restore it, check it.", no_args_is_help=True)


@app.command()
def upgrade(db: Db = None, config: Config = None) -> None:
    """Bring the database to this version of the software; several hosts may do it at the same time."""
    chosen = settings.load(config, db=db)
    before = Database.upgrade(chosen.db, busy_timeout=chosen.busy_timeout_s)
    _say(f"the database is at revision {HEAD}" + ("" if before == HEAD else f"; it was at {before}"))


@app.command()
def backup(
    out: Annotated[Path, typer.Option(help="File to write; it must not be there.")],
    with_staged: Annotated[
        bool, typer.Option("--with-staged", help="Also the staged reports, to move a service that is stopped.")
    ] = False,
    db: Db = None,
    config: Config = None,
) -> None:
    """Write the ledger and the releases to a file for its owner alone, while the service runs."""
    chosen = settings.load(config, db=db)
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        made = backups.back_up(database, chosen, out, with_staged=with_staged)
    finally:
        database.dispose()
    _say(f"wrote {made.file}; its ledger ends at {made.ledger_head}")
    if made.destroy_before:
        weeks = ", ".join(str(week) for week in made.staged)
        _say(
            f"it holds people's reports of {weeks}: destroy it when the first of these weeks is closed, and before "
            f"{made.destroy_before:%Y-%m-%d %H:%M} UTC whatever happens"
        )
    elif not with_staged:
        _say("staged reports are not in it, for they must die with their week")


def _head(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise typer.BadParameter("a ledger's head is 64 hexadecimal digits")
    return text


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="The backup.", show_default=False)],
    ledger_head: Annotated[
        str,
        typer.Option(
            parser=_head,
            metavar="HASH",
            help="Where the ledger ended after the last close: stated by each dataset, backup and check.",
        ),
    ],
    with_staged: Annotated[
        bool,
        typer.Option("--with-staged", help="Also the reports in it; only if nobody could delete one since then."),
    ] = False,
    db: Db = None,
    config: Config = None,
) -> None:
    """Make a database from a backup; nothing that is there is overwritten, and no week can be released twice."""
    chosen = settings.load(config, db=db)
    restored = restoring.restore(chosen, SCHEMA, file, head=ledger_head, with_staged=with_staged, now=utc_now())
    restored.dispose()
    _say(f"restored; the ledger ends at {ledger_head}. Now run: metavox-collector db check")


@app.command()
def check(db: Db = None, config: Config = None, as_json: Json = False) -> None:
    """Hold the database against its ledger and the schema; it reads everything and changes nothing."""
    chosen = settings.load(config, db=db)
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        show(look(database, chosen, utc_now()), as_json=as_json)
    finally:
        database.dispose()


def _say(words: str) -> None:
    Console(soft_wrap=True, markup=False).print(words, highlight=False)
