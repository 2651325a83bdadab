"""Bytes of bodies that the process holds: counted from the first one that arrives until the request is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio

from metavox_collector.observe import Metrics

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's."""


class Full(Exception):
    """All senders together have sent more than the process may hold."""


class TooLarge(Exception):
    """The body is larger than one may be."""


class CutOff(Exception):
    """The sender has gone."""


class Intake:
    """Reads bodies, within a bound for each and one for all.

    Args:
        body: Most bytes of one body.
        together: Most bytes of all of them.
        seconds: How long a sender may take for one.
        metrics: Where it is said how many bytes are held.
    """

    def __init__(self, body: int, together: int, seconds: float, metrics: Metrics) -> None:
        self._metrics = metrics
        self._body = body
        self._together = together
        self._seconds = seconds
        self._held = 0

    @asynccontextmanager
    async def body(self, receive: Receive) -> AsyncIterator[bytes]:
        """A request's body; it counts until the block ends.

        Raises:
            TooLarge: as soon as it is, whatever length was announced.
            Full: if there is no room for it.
            CutOff: if the sender goes before it is whole.
            TimeoutError: if it takes too long.
        """
        parts: list[bytes] = []
        held = 0
        try:
            with anyio.fail_after(self._seconds):
                is_more = True
                while is_more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise CutOff
                    part, is_more = message.get("body", b""), message.get("more_body", False)
                    parts.append(part)
                    held += len(part)
                    self._hold(len(part))
                    if held > self._body:
                        raise TooLarge(f"the body is larger than {self._body} bytes; send fewer reports at a time")
                    if self._held > self._together:
                        raise Full
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._hold(-held)

    def _hold(self, more: int) -> None:
        self._held += more
        self._metrics.holds(self._held)
