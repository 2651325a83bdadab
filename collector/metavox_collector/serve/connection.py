"""One connection: uvicorn's, with bounds that it does not have.

A sender can keep no connection without using it, make no header or queue of requests grow, and leave no answer
unread. What is refused here is told in HTTP and in no log, which others could fill.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_HEADER_BYTES = 2**15
"""Of a request's line and headers, and of the trailers of a body in chunks."""

MOST_PIPELINED = 16
"""Requests that may wait behind one that is being answered on the same connection."""

_LEAST_READ = 2**14
"""Bytes of an answer that must have been read from one look to the next."""

_OF_A_BODY = (b"content-length", b"transfer-encoding")
_BUSY = object()

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.ERROR)  # a warning for each bad request would let anybody fill a disk


@dataclass(frozen=True)
class Bounds:
    """What connections may take.

    Attributes:
        connections: How many are served at a time; a request on one more is answered by ``overload``.
        header_s: Seconds in which a connection must have brought a request's whole header.
        overload: The ASGI application that answers 503.
        retry_after_s: What those are told that are not even heard.
    """

    connections: int
    header_s: float
    overload: Any
    retry_after_s: int


class Connection(HttpToolsProtocol):
    """A connection that ends when it brings no header in time, or is not read from."""

    bounds: Bounds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hear it, unless twice as many as are served are there already: those cost nothing but their end."""
        self._head = 0
        self._in_head = False
        self._unread = 0
        self.logger = _LOG
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.bounds.header_s, self._look, None)
        if len(self.connections) > 2 * self.bounds.connections:
            self._end(503, f"retry-after: {self.bounds.retry_after_s}\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless the header of a request has become too long."""
        if self.transport.is_closing():
            return
        if self._in_head:  # a name or a value that does not end is not told to on_header
            self._head += len(data)
            if self._head > MOST_HEADER_BYTES:
                self._end(431)
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer after the body."""
        self._head += len(name) + len(value)
        if self._head > 2 * MOST_HEADER_BYTES:  # each byte may have been counted as it arrived as well
            raise httptools.HttpParserError("the header is too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request's header is there: begin to answer it, or let it wait behind the one before."""
        self._in_head = False
        if len(self.pipeline) >= MOST_PIPELINED:
            raise httptools.HttpParserError("too many requests at a time")
        if self.parser.should_upgrade() and any(name in _OF_A_BODY for name, _ in self.headers):
            # The parser would skip the body, and an empty request be answered 200: acknowledged, and lost.
            raise httptools.HttpParserError("a body beside an upgrade")
        is_full = len(self.connections) > self.bounds.connections
        self.app = self.bounds.overload if is_full else self.config.loaded_app
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, but not in the place of an answer that is still to come."""
        if self.pipeline:
            self.transport.abort()
        elif self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self._end(400)
        else:
            self.cycle.keep_alive = False

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if none were asked for (RFC 9110, section 7.8), and close: the parser has ended."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _end(self, status: int, headers: str = "") -> None:
        head = f"{headers}content-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode())
        self.transport.close()

    def _look(self, answered: object) -> None:
        """End it if the last request was answered at the last look already, and no other has begun.

        uvicorn knows a timeout between requests alone, which the first byte of the next one ends.
        """
        unread = self.transport.get_write_buffer_size()
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self.cycle is answered and (not unread or unread > self._unread - _LEAST_READ):
            self.transport.abort()
            return
        self._unread = unread
        last = self.cycle if waits else _BUSY
        self._timer = self.loop.call_later(self.bounds.header_s, self._look, last)
