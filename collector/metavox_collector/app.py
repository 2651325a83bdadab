"""The composition root of the HTTP service: who comes after whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from metavox_collector.clock import Clock, utc_now
from metavox_collector.dataset.listing import listing
from metavox_collector.delete import deletion
from metavox_collector.errors import StoreUnavailable
from metavox_collector.housekeeping import Housekeeping
from metavox_collector.latest import latest
from metavox_collector.receive import PROTOBUF, Code, Limits, Refused, answer, check_headers, parse, read_bounded
from metavox_collector.settings import Settings
from metavox_collector.stage import Stager
from metavox_collector.store import Database
from metavox_privacy.report import Report
from metavox_privacy.schema import SCHEMA, Schema
from metavox_privacy.wire import Rejected, decode

_log = logging.getLogger(__name__)
_AWAY = "the collector's database is busy or away; try again later"
_STAGERS = 40


def create_app(settings: Settings, *, clock: Clock = utc_now, schema: Schema = SCHEMA) -> FastAPI:
    """Open the database and wire the endpoints.

    Raises:
        WrongDatabase: if the database is of another kind than the settings say.
        NotAllowed: if it was born with a lower yearly cap than they say.
        StoreUnavailable: if it cannot be reached.
    """
    database = Database.create(
        settings.db,
        schema,
        sandbox=settings.sandbox,
        yearly_cap=settings.yearly_cap_nano_rho,
        busy_timeout=settings.busy_timeout_s,
    )
    limits = Limits(settings.max_body_bytes, settings.max_inflated_bytes, settings.max_reports)
    stager = Stager(database, settings.accepted_for)
    decoders = CapacityLimiter(settings.decoders)
    stagers = CapacityLimiter(_STAGERS)  # their own, so that who waits for a close delays no reader
    unavailable = _Unavailable(settings.retry_after_s)

    housekeeping = Housekeeping(stager, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with housekeeping.going_on():
            yield
        database.dispose()

    # No page of documentation: FastAPI's loads scripts from elsewhere, which tells others who reads it.
    # No redirect either: to whichever host the request named, and no sender of ours follows one.
    app = FastAPI(
        title="MetaVox collector",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.database = database

    def understand(body: bytes, *, gzip: bool) -> list[Report | Rejected] | Refused:
        try:
            return decode(parse(body, gzip=gzip, limits=limits), schema)
        except Refused as refused:
            # Its traceback would keep a hostile body's whole message alive until the next garbage collection.
            return refused.with_traceback(None)

    @app.post("/v1/traces")
    async def traces(request: Request) -> Response:
        try:
            gzip = check_headers(*_headers(request), limits)
            body = await asyncio.wait_for(read_bounded(request.stream(), limits), settings.body_timeout_s)
            decoded = await to_thread.run_sync(partial(understand, body, gzip=gzip), limiter=decoders)
            if isinstance(decoded, Refused):
                return _refuse(decoded, unavailable)
            rejected = await to_thread.run_sync(stager.stage, decoded, clock(), limiter=stagers)
            return Response(answer(rejected), media_type=PROTOBUF)
        except Exception as error:
            return _refuse(error, unavailable)

    app.include_router(deletion(stager, stagers, housekeeping.wake))
    app.include_router(latest(database))

    @app.exception_handler(StoreUnavailable)
    async def away(_request: Request, error: StoreUnavailable) -> Response:
        return JSONResponse({"error": _AWAY}, 503, unavailable.headers(error))

    @app.get("/v1/datasets")
    def datasets() -> dict[str, object]:
        with database.read() as transaction:
            return {"datasets": listing(transaction)}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _headers(request: Request) -> tuple[str | None, str | None, str | None]:
    names = ("content-type", "content-encoding", "content-length")
    kind, encoding, length = (request.headers.get(name) for name in names)
    return kind, encoding, length


class _Unavailable:
    """Answers while the database cannot be used, and tells the operator each kind of cause once."""

    def __init__(self, retry_after: int) -> None:
        self._headers = {"Retry-After": str(retry_after)}
        self._told: set[str] = set()

    def headers(self, error: StoreUnavailable) -> dict[str, str]:
        """The headers of a 503."""
        if error.kind not in self._told:
            self._told.add(error.kind)
            _log.warning("the database could not be used: %s; this is said once", error.kind)
        return self._headers


def _refuse(error: Exception, unavailable: _Unavailable) -> Response:
    """The one place that maps what went wrong to a status; the sender is told nothing of our insides."""
    refused = _as_refused(error)
    headers = unavailable.headers(error) if isinstance(error, StoreUnavailable) else None
    return Response(refused.body(), refused.http_status, headers, PROTOBUF)


def _as_refused(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, StoreUnavailable):
        return Refused(Code.UNAVAILABLE, _AWAY)
    if isinstance(error, ClientDisconnect):
        return Refused(Code.INVALID, "the body ended early")
    if isinstance(error, asyncio.TimeoutError):
        return Refused(Code.TIMEOUT, "the body took too long")
    # The traceback says where; the store hides its parameters, so it cannot say what was sent.
    _log.error("a request could not be answered", exc_info=error)
    return Refused(Code.INTERNAL, "the collector failed; its operator can see why")
