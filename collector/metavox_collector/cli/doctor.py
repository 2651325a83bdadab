"""``metavox-collector doctor``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from metavox_collector import settings
from metavox_collector.cli.findings import show
from metavox_collector.cli.options import Config, Db, Json
from metavox_collector.clock import utc_now
from metavox_collector.operate.doctor import examine
from metavox_privacy.schema import SCHEMA


def doctor(
    db: Db = None,
    config: Config = None,
    as_json: Json = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the effective settings as TOML, and end.")
    ] = False,
) -> None:
    """Look at the settings and what is around the service, without starting it; each with what to do."""
    explained = settings.explain(config, db=db)
    if print_config:
        sys.stdout.write(explained.as_toml())
        return
    show(examine(explained.settings, SCHEMA, utc_now), as_json=as_json)
