"""One kept-alive HTTP/1.1 connection that posts bodies, one at a time.

With httptools, the parser that the service uses too, and nothing around it a request costs 15 µs. An HTTP library
takes some hundreds, as much as the collector does to store what is in the request.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from metavox_collector.errors import CollectorError


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The status line's number.
        body: Its bytes.
        retry_after: Seconds that the sender is asked to wait; None when it is not.
    """

    status: int
    body: bytes
    retry_after: float | None


@dataclass(frozen=True)
class Target:
    """Where to post, and with which headers.

    Attributes:
        host: Name or address.
        port: TCP port.
        path: Of the endpoint.
        headers: Beside Host and Content-Length.
        tls: How to secure the connection, with the system's authorities; None for plain HTTP.
    """

    host: str
    port: int
    path: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None = field(default=None)

    @classmethod
    def parse(cls, url: str, headers: Mapping[str, str], path: str = "/v1/traces") -> Target:
        """Read ``http://host:port`` or ``https://...``.

        Raises:
            CollectorError: if it is neither.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").encode("ascii").decode(), parts.port
        except ValueError:
            host, port = "", None
        if not host or parts.scheme not in ("http", "https"):
            raise CollectorError(f"{url!r} is no address of a collector; give one like http://127.0.0.1:8320")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        return cls(host, port or (443 if tls else 80), parts.path.rstrip("/") + path, headers, tls)

    def head(self) -> bytes:
        """The header's bytes up to the value of Content-Length."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "Content-Length: "]).encode("ascii")


class Connection(asyncio.Protocol):
    """Made by :func:`connect`.

    Attributes:
        is_closed: Whether nothing can be posted any more.
    """

    def __init__(self, head: bytes, timeout: float) -> None:
        self._head = head
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Answer] | None = None
        self.is_closed = False

    async def post(self, body: bytes) -> Answer:
        """Send a body and wait for the answer.

        Raises:
            ConnectionError: if the connection ends before it, or it does not come in time.
        """
        if self.is_closed:
            raise ConnectionResetError("the connection has been closed")
        self._begin()
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        self._answer = self._loop.create_future()
        timer = self._loop.call_later(self._timeout, self.close)
        try:
            return await self._answer
        finally:
            timer.cancel()

    def close(self) -> None:
        """End it, whatever is under way."""
        self.is_closed = True
        self._transport.abort()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._retry_after: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's always is one
        """asyncio's call."""
        self._transport = transport
        self._begin()

    def data_received(self, data: bytes) -> None:
        """asyncio's call."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call."""
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the connection ended before an answer"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's call."""
        if name.lower() == b"retry-after" and value.isdigit():
            self._retry_after = float(value)

    def on_body(self, body: bytes) -> None:
        """The parser's call."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The parser's call."""
        self.is_closed = self.is_closed or not self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            answer = Answer(self._parser.get_status_code(), b"".join(self._body), self._retry_after)
            self._answer.set_result(answer)


async def connect(target: Target, *, timeout: float = 60) -> Connection:
    """Open a connection; ``timeout`` are the seconds to wait for it, and for each answer.

    Raises:
        OSError: if it cannot be made.
    """
    loop = asyncio.get_running_loop()
    making = loop.create_connection(
        lambda: Connection(target.head(), timeout), target.host, target.port, ssl=target.tls
    )
    _, connection = await asyncio.wait_for(making, timeout)
    return connection
