"""``metavox-collector export``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from metavox_collector import settings
from metavox_collector.cli.options import Config, Db, WeekOption
from metavox_collector.dataset import export as dataset
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA


class PurposeOption(str, Enum):
    """For whom the release was made."""

    publish = "publish"
    improve = "improve"


def export(
    week: WeekOption,
    out: Annotated[Path, typer.Option(help="Directory under which the dataset's own directory is made.")],
    db: Db = None,
    config: Config = None,
    purpose: Annotated[PurposeOption, typer.Option(help="Which release of the week.")] = PurposeOption.publish,
) -> None:
    """Write a release as Parquet with a data dictionary."""
    chosen = settings.load(config, db=db)
    database = Database.existing(chosen.db, SCHEMA, busy_timeout=chosen.busy_timeout_s)
    try:
        target = dataset.export(database, week, purpose.value, out)
    finally:
        database.dispose()
    Console(soft_wrap=True).print(f"wrote {target}", highlight=False)
