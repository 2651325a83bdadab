"""``metavox-collector serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from metavox_collector import settings
from metavox_collector.app import create_app
from metavox_collector.cli.options import Db, Now, clock_of
from metavox_collector.serve import listen, run


def serve(
    db: Db = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8320,
    sandbox: Annotated[
        bool | None, typer.Option("--sandbox", help="A database for demonstrations: it takes synthetic reports.")
    ] = None,
    now: Now = None,
    allow_public: Annotated[
        bool,
        typer.Option("--allow-public", help="Listen on an address that other machines can reach, without TLS."),
    ] = False,
) -> None:
    """Receive reports at /v1/traces and list releases at /v1/datasets."""
    chosen = settings.load(db=db, sandbox=sandbox)
    clock = clock_of(now, sandbox=chosen.sandbox)
    listener = listen(host, port, allow_public=allow_public)
    try:
        app = create_app(chosen, clock=clock)
        run(app, listener, max_connections=chosen.max_connections, header_timeout=chosen.header_timeout_s)
    finally:
        listener.close()
