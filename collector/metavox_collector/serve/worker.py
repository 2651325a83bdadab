"""One process that serves: started by the supervisor, ended by it, and by its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from metavox_collector import settings as configuration
from metavox_collector.app import create_app
from metavox_collector.clock import fixed, utc_now
from metavox_collector.errors import CollectorError
from metavox_collector.observe import logs
from metavox_collector.serve import tls
from metavox_collector.serve.connection import Bounds, Connection
from metavox_collector.serve.task import Task
from metavox_collector.settings import Settings

_SWITCH_S = 0.0005
"""How long the loop keeps the interpreter from the thread that commits. That one gives it up at each statement, and
would wait for 5 ms each time otherwise."""


def main() -> None:
    """Serve until told to stop; exit status 0 then, 1 with a line on stderr if that could not begin."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's are for the supervisor, which tells each worker
        signal.signal(number, signal.SIG_IGN)
    task = Task.read(sys.stdin.readline())
    try:
        settings = configuration.load(Path(task.config) if task.config else None, **task.given)
        logs.configure(settings.log_format)
        logs.tell_of_the_uncaught()
        clock = fixed(datetime.fromisoformat(task.now)) if task.now else utc_now
        secure = tls.of(settings)  # before the database is made, or told of this software's schema
        app = create_app(settings, clock=clock, counts=task.descriptors.get("counts"))
        servers = _servers(app, settings, task, secure)
    except (CollectorError, OSError) as error:
        sys.exit(f"metavox-collector: {error}")
    sys.setswitchinterval(_SWITCH_S)
    uvloop.run(_serve(app, servers, task.descriptors["ready"]))


class _Server(uvicorn.Server):
    """uvicorn's, which leaves signals alone and says when it is up."""

    def __init__(self, config: uvicorn.Config, descriptor: int) -> None:
        super().__init__(config)
        self._listener = socket.socket(fileno=descriptor)
        self.is_up = asyncio.Event()

    async def go(self) -> None:
        """Serve until it should exit."""
        await self._serve([self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


def _servers(app: FastAPI, settings: Settings, task: Task, secure: SSLContext | None) -> list[_Server]:
    """The one for senders, and the one for monitoring, which has connections of its own: a flood blinds nobody."""
    public = _config(app, app.state.overload, settings, connections=settings.max_connections, lifespan="on")
    public.ssl = secure
    servers = [_Server(public, task.descriptors["public"])]
    if "monitor" in task.descriptors:
        monitor = _config(app.state.monitor, app.state.overload, settings, connections=20, lifespan="off")
        servers.append(_Server(monitor, task.descriptors["monitor"]))
    return servers


def _config(app: Any, overload: Any, settings: Settings, *, connections: int, lifespan: Any) -> uvicorn.Config:
    bounds = Bounds(connections, settings.header_timeout_s, overload, settings.retry_after_s)
    config = uvicorn.Config(
        app,
        http=type("_Bounded", (Connection,), {"bounds": bounds}),
        lifespan=lifespan,
        log_config=None,
        log_level="warning",
        access_log=False,  # it would hold addresses
        ws="none",
        server_header=False,
        proxy_headers=False,  # whom to believe is admission's business
        timeout_graceful_shutdown=settings.drain_timeout_s,
    )
    config.load()
    return config


async def _serve(app: FastAPI, servers: list[_Server], ready: int) -> None:
    loop = asyncio.get_running_loop()
    public, others = servers[0], servers[1:]

    def stop() -> None:
        """Take no more, and finish what has begun."""
        public.should_exit = True
        app.state.health.is_draining = True

    def no_longer_wanted() -> None:
        """The supervisor has closed its end, or has ended."""
        loop.remove_reader(sys.stdin.fileno())
        stop()

    def hurry() -> None:
        """Wait no longer for who has not been answered yet: it was told nothing, so nothing is lost."""
        stop()
        public.force_exit = True

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGUSR1, hurry)
    loop.add_reader(sys.stdin.fileno(), no_longer_wanted)
    going = [asyncio.create_task(server.go()) for server in servers]
    for server in servers:
        await server.is_up.wait()
    with suppress(BrokenPipeError):  # the supervisor was told to stop meanwhile, and says so on stdin
        os.write(ready, b"1")
    os.close(ready)
    await going[0]
    for server in others:
        server.should_exit = True
    await asyncio.gather(*going[1:])


if __name__ == "__main__":
    main()
