"""``metavox-collector ledger``: what was spent on whom, and what was said of a release afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from metavox_collector import settings
from metavox_collector.cli.options import Config, Db, Json, PurposeOption, WeekOption
from metavox_collector.correct import correct_release
from metavox_collector.dataset.account import account, balances
from metavox_collector.dataset.facts import DELTA
from metavox_collector.store import Database
from metavox_privacy.budget import GENESIS, LedgerEntry, Reason, epsilon, verify
from metavox_privacy.schema import SCHEMA

app = typer.Typer(help="Show what the releases have cost, and what was corrected; correct one.")

_ROOM = 100
"""Columns that the tables take; a narrower terminal wraps their lines, where the tables would cut numbers."""

_SHORT = 12
"""Digits of a hash that the table shows; ``--json`` prints them all."""


class ReasonOption(str, Enum):
    """What is wrong with a release."""

    withdrawn = "withdrawn"
    figures = "figures-corrected"
    documents = "documents-corrected"

    @property
    def reason(self) -> Reason:
        """As the ledger has it."""
        return _REASONS[self]


_REASONS: dict[ReasonOption, Reason] = {
    ReasonOption.withdrawn: "withdrawn",
    ReasonOption.figures: "figures corrected",
    ReasonOption.documents: "documents corrected",
}

_MEANS = {
    ReasonOption.withdrawn: "Nothing of it is published again, and that cannot be taken back.",
    ReasonOption.figures: "Its figures are to be estimated anew from the same noisy sums; write its pack again.",
    ReasonOption.documents: "Its documents are to be written anew; write its pack again.",
}


@app.callback(invoke_without_command=True)
def ledger(
    context: typer.Context,
    db: Db = None,
    config: Config = None,
    year: Annotated[int | None, typer.Option(help="One ISO year alone.", min=2020, max=2200)] = None,
    as_json: Json = False,
) -> None:
    """Verify the ledger, and print the balance of each ISO year and every entry."""
    if context.invoked_subcommand is not None:
        if db or config or year is not None or as_json:
            raise typer.BadParameter(f"give the options after '{context.invoked_subcommand}'")
        return
    chosen = settings.load(config, db=db)
    with _opened(chosen) as database, database.read() as transaction:
        history = transaction.ledger()
        cap, synthetic = min(chosen.yearly_cap_nano_rho, database.yearly_cap), database.sandbox
    verify(history)
    if as_json:
        print(json.dumps(account(history, cap, year), indent=1))  # noqa: T201  # for another program
        return
    console = Console(highlight=False)
    console.width = max(console.width, _ROOM)
    head = history[-1].hash if history else GENESIS
    label = " of a SANDBOX" if synthetic else ""
    console.print(f"The ledger{label} has {len(history)} entries, and the chain of their hashes holds.")
    console.print(f"Head: {head}")
    console.print(_balances(history, cap, year))
    console.print(_entries([entry for entry in history if year is None or year in entry.years]))


@app.command()
def correct(
    week: WeekOption,
    reason: Annotated[ReasonOption, typer.Option(help="What is wrong with it.")],
    db: Db = None,
    config: Config = None,
    purpose: Annotated[PurposeOption, typer.Option(help="Which release of the week.")] = PurposeOption.publish,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Say in the ledger, for good, that a release is withdrawn, or that its figures or documents are corrected."""
    chosen = settings.load(config, db=db)
    with _opened(chosen) as database:
        if not yes:
            name = f"{week} for '{purpose.value}'"
            typer.confirm(f"The release of {name}: {reason.reason}. {_MEANS[reason]} Go on?", abort=True)
        entry = correct_release(database, week, purpose.value, reason.reason)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"entry {entry.sequence}: the release of {week} for '{purpose.value}' is {_told(entry)}")
    console.print(f"the ledger ends at {entry.hash}. Make a backup now: metavox-collector db backup --out FILE")


def _told(entry: LedgerEntry) -> str:
    return "withdrawn" if entry.reason == "withdrawn" else f"marked '{entry.reason}'"


@contextmanager
def _opened(chosen: settings.Settings) -> Iterator[Database]:
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        yield database
    finally:
        database.dispose()


def _balances(history: Sequence[LedgerEntry], cap: int, year: int | None) -> Table:
    title = f"ρ by ISO year, and ε at δ = {DELTA:g} of somebody who is in all of its releases"
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for name in ("year", "ρ spent", "ρ left", "ρ cap", "ε spent", "ε at cap"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in balances(history, cap, year):
        rho = (f"{nano / 1e9:g}" for nano in (one.spent, one.left, one.cap))
        table.add_row(str(one.year), *rho, f"{one.epsilon:.3g}", f"{one.epsilon_cap:.3g}")
    return table


def _entries(history: Sequence[LedgerEntry]) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("", "weeks", "purpose", "scope", "ρ", "ε", "what", "release", "hash"):
        table.add_column(name, justify="right" if name in ("", "ρ", "ε") else "left", no_wrap=True)
    for entry in history:
        weeks = str(entry.week) if entry.weeks == 1 else f"{entry.first_week}–{entry.week}"
        price = (f"{entry.nano_rho / 1e9:g}", f"{epsilon(entry.nano_rho, DELTA):.3g}")
        hashes = (entry.release[:_SHORT], entry.hash[:_SHORT])
        told = entry.reason or "released"
        table.add_row(str(entry.sequence), weeks, entry.purpose, entry.scope, *price, told, *hashes)
    return table
