"""What went wrong -> the answer that says so. The sender is told nothing of our insides, nor its own words."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers as Fields
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from metavox_collector.admission import Throttled, Unauthorized
from metavox_collector.endpoints.intake import CutOff, Full, TooLarge
from metavox_collector.errors import StoreUnavailable
from metavox_collector.observe import Metrics
from metavox_collector.receive import Code, Media, Refused
from metavox_collector.stage import Busy

_log = logging.getLogger(__name__)

_AWAY = "the collector's database is busy or away; try again later"
_BUSY = "the collector has no room for more now; try again later"


class Refusals:
    """Maps errors to answers, and tells the operator each kind of trouble with the database once.

    Args:
        metrics: Where they are counted.
        retry_after_s: When to come back, for who is told to.
    """

    def __init__(self, metrics: Metrics, retry_after_s: int) -> None:
        self._metrics = metrics
        self._retry = {"Retry-After": str(retry_after_s)}
        self._told: set[str] = set()

    def response(self, error: Exception, media: Media | None) -> Response:
        """The answer, as an OTLP ``Status`` in this form, or for None as the other endpoints tell an error."""
        refused = self._refused(error)
        if media is None:
            return JSONResponse({"error": str(refused)}, refused.http_status, refused.headers)
        return Response(refused.body(media), refused.http_status, refused.headers, media.value)

    async def overload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the answer to a request on one connection too many."""
        refused = Refused(Code.UNAVAILABLE, "too many connections; try again later", self._retry)
        await self.response(refused, media_of(Fields(scope=scope)))(scope, receive, send)

    def _refused(self, error: Exception) -> Refused:
        if isinstance(error, Refused):
            return error
        if isinstance(error, Throttled):
            self._metrics.throttled(error.reason)
            return Refused(Code.TOO_MANY, str(error), {"Retry-After": str(error.retry_after_s)})
        if isinstance(error, (Busy, Full)):
            self._metrics.throttled("busy")
            return Refused(Code.TOO_MANY, _BUSY, self._retry)
        if isinstance(error, StoreUnavailable):
            self._tell(error)
            return Refused(Code.UNAVAILABLE, _AWAY, self._retry)
        return _of_the_request(error)

    def _tell(self, error: StoreUnavailable) -> None:
        self._metrics.database_failed(error.kind)
        if error.kind not in self._told:
            self._told.add(error.kind)
            _log.warning("the database could not be used: %s; this is said once", error.kind)


def media_of(fields: Fields) -> Media:
    """The form in which to answer a request that may be of none of ours."""
    return Media.of(fields.get("content-type")) or Media.PROTOBUF


def _of_the_request(error: Exception) -> Refused:
    if isinstance(error, Unauthorized):
        return Refused(Code.UNAUTHENTICATED, str(error), {"WWW-Authenticate": "Bearer"})
    if isinstance(error, TooLarge):
        return Refused(Code.TOO_LARGE, str(error))
    if isinstance(error, CutOff):
        return Refused(Code.INVALID, "the body ended early")
    if isinstance(error, TimeoutError):
        return Refused(Code.TIMEOUT, "the body took too long")
    # The log says where and of which type; its words, which may be the sender's, it leaves out.
    _log.error("a request could not be answered", exc_info=error)
    return Refused(Code.INTERNAL, "the collector failed; its operator can see why")
