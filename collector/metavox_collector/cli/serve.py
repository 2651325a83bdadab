"""``metavox-collector serve``."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from metavox_collector import settings
from metavox_collector.admission import shared_counts, tokens
from metavox_collector.cli.options import Db, Now, clock_of
from metavox_collector.operate.unsafe import refuse_unsafe
from metavox_collector.serve import Task, listen, supervise, tls, url_of
from metavox_collector.settings import Settings


def serve(
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    db: Db = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve.", min=1, max=256)] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate and its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    trusted_proxies: Annotated[
        str | None, typer.Option(help="Networks, with commas, of proxies whose X-Forwarded-For is believed.")
    ] = None,
    require_token: Annotated[
        Path | None, typer.Option(help="File with the hashes of fleets' tokens, one of which senders must show.")
    ] = None,
    monitor_port: Annotated[
        int | None, typer.Option(help="Port for /metrics and /ready; 0 takes a free one.", min=0, max=65535)
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None, typer.Option(help="How warnings and errors are written to stderr.")
    ] = None,
    sandbox: Annotated[
        bool | None, typer.Option("--sandbox", help="A database for demonstrations: it takes synthetic reports.")
    ] = None,
    now: Now = None,
    allow_public: Annotated[
        bool | None,
        typer.Option("--allow-public", help="Listen on an address that other machines can reach, without TLS."),
    ] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the settings, and end.")] = False,
) -> None:
    """Receive reports at /v1/traces and list releases at /v1/datasets."""
    line = {
        "db": db,
        "host": host,
        "port": port,
        "workers": workers,
        "tls_cert": tls_cert and str(tls_cert),
        "tls_key": tls_key and str(tls_key),
        "trusted_proxies": trusted_proxies,
        "require_token": require_token and str(require_token),
        "monitor_port": monitor_port,
        "log_format": log_format,
        "sandbox": sandbox,
        "allow_public": allow_public,
    }
    given = {name: value for name, value in line.items() if value is not None}
    explained = settings.explain(config, **given)
    if print_config:
        sys.stdout.write(explained.as_toml())
        return
    refuse_unsafe(explained.settings)
    _try_files(explained.settings)
    clock_of(now, sandbox=explained.settings.sandbox)
    task = Task(str(config) if config else None, given, now.isoformat() if now else None)
    sys.exit(_run(explained.settings, task))


def _try_files(chosen: Settings) -> None:
    """Read what the workers will read, so that a start that cannot succeed makes nothing.

    Raises:
        NotAllowed: if a file is not what it should be.
    """
    tls.of(chosen)
    if chosen.require_token is not None:
        tokens.read(chosen.require_token)


def _run(chosen: Settings, task: Task) -> int:
    """Listen, and keep workers running; the exit status."""
    safe = chosen.allow_public or chosen.tls_cert is not None or bool(chosen.trusted_proxies)
    with ExitStack() as stack:
        public = stack.enter_context(closing(listen(chosen.host, chosen.port, allow_public=safe)))
        said = [f"MetaVox collector listening on {url_of(public, tls=chosen.tls_cert is not None)}"]
        born = {"public": public.fileno()}
        if (counts := shared_counts()) is not None:
            born["counts"] = counts
        if chosen.monitor_port is not None:
            monitor = listen(chosen.monitor_host, chosen.monitor_port, allow_public=chosen.allow_public)
            born["monitor"] = stack.enter_context(closing(monitor)).fileno()
            said.append(f"monitored at {url_of(monitor, tls=False)}")

        def say_ready() -> None:
            print("\n".join(said), flush=True)  # noqa: T201  # the ready line

        return supervise(task.with_descriptors(**born), chosen, say_ready)
