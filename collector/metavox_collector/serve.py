"""Run the service: listen, say where, stop when asked to."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from metavox_collector.errors import NotAllowed

_BUSY = object()


def listen(host: str, port: int, *, allow_public: bool) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        NotAllowed: if the address is not this machine's own and that was not allowed, or cannot be had.
    """
    if not allow_public and not _is_loopback(host):
        raise NotAllowed(
            f"{host} can be reached from other machines, and this service has no TLS yet; put a TLS proxy before "
            "it and give --allow-public, or listen on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise NotAllowed(f"cannot listen on {host} port {port}: {error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(app: FastAPI, listener: socket.socket, *, max_connections: int, header_timeout: float) -> None:
    """Serve until SIGTERM or SIGINT, then finish what has begun and return.

    Args:
        app: What to serve.
        listener: Where.
        max_connections: Beyond so many at a time a request is answered 503.
        header_timeout: Seconds in which a connection must have brought a request's whole header.
    """
    config = uvicorn.Config(
        app,
        http=type("_Connection", (_Connection,), {"header_timeout": header_timeout}),
        limit_concurrency=max_connections,
        backlog=128,  # asyncio logs a traceback for each of these, again and again, when there are no files left
        access_log=False,  # it would hold addresses
        log_level="warning",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
    )
    server = _Server(config, listener)
    # uvicorn raises the signal again once it has shut down, for whoever handled it before: that is us.
    before = {number: signal.signal(number, server.stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.close()


class _Connection(H11Protocol):
    """A connection that ends when it brings no header in time.

    uvicorn knows a timeout between requests alone, which the first byte of the next one ends.
    """

    header_timeout: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look_again(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_again(self, answered: object) -> None:
        self._timer = self.loop.call_later(self.header_timeout, self._look, answered)

    def _look(self, answered: object) -> None:
        """Close if the last request was answered at the last look already, and no other has begun."""
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self.cycle is answered:
            self.transport.close()
        else:
            self._look_again(self.cycle if waits else _BUSY)


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Shut down at the next moment that suits."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"MetaVox collector listening on http://{shown}:{port}", flush=True)  # noqa: T201  # the ready line
