"""The composition root of the HTTP service: who comes after whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from ipaddress import ip_network

from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from metavox_collector.admission import Action, Admission, Throttled, client_of
from metavox_collector.clock import Clock, utc_now
from metavox_collector.endpoints.delete import deletion
from metavox_collector.endpoints.intake import Intake
from metavox_collector.endpoints.latest import datasets, latest
from metavox_collector.endpoints.ledger import ledger
from metavox_collector.endpoints.openapi import described
from metavox_collector.endpoints.refusals import Refusals, media_of
from metavox_collector.endpoints.traces import Traces, peer_of
from metavox_collector.errors import StoreUnavailable
from metavox_collector.housekeeping import HOUR, Housekeeping
from metavox_collector.observe import Counted, Health, Metrics, monitor, probes, tracing
from metavox_collector.receive import Limits, Receiver, no_such_method, no_such_path
from metavox_collector.settings import Settings
from metavox_collector.stage import Busy, Stager
from metavox_collector.store import Database
from metavox_privacy.schema import SCHEMA, Schema

_TRACES = "/v1/traces"

_SAMPLING = 1.0
"""Seconds between two looks at what waits, for whoever asks another worker."""

_ROUTES = {
    "/v1/reports/": "reports",
    "/v1/releases/latest": "latest",
    "/v1/datasets": "datasets",
    "/v1/ledger": "ledger",
    "/openapi.json": "openapi",
    "/health": "health",
    "/ready": "ready",
}
"""What a path is called where answers are counted."""

_OTLP = ("/v1/metrics", "/v1/logs")
"""Where OTLP's exporters send what is not taken here."""


def create_app(
    settings: Settings, *, clock: Clock = utc_now, schema: Schema = SCHEMA, counts: int | None = None
) -> FastAPI:
    """Open the database and wire the endpoints.

    Args:
        settings: What the operator chose.
        clock: What time it is.
        schema: What may be received.
        counts: The memory in which admission counts together with other processes; None to count alone.

    Raises:
        WrongDatabase: if the database is of another kind than the settings say.
        NotAllowed: if it was born with a lower yearly cap than they say.
        StoreUnavailable: if it cannot be reached.
    """
    admission = Admission.of(settings, clock, counts)
    spans = tracing(wanted=settings.own_traces)
    database, metrics = _database(settings, schema), Metrics()
    metrics.is_built(version("metavox"), schema.version)
    room = settings.max_waiting_reports
    stager = Stager(database, settings.accepted_for, room=room, metrics=metrics, tracing=spans)
    house = Housekeeping(database, clock, settings.accepted_for, metrics.kept_house)
    health = Health(lambda: stager.is_full, partial(_look, database))
    limits = Limits(settings.max_body_bytes, settings.max_inflated_bytes, settings.max_reports)
    traces = Traces(
        admission=admission,
        trusted=tuple(ip_network(network) for network in settings.trusted_proxies),
        intake=Intake(settings.max_body_bytes, settings.max_waiting_bytes, settings.body_timeout_s, metrics),
        receiver=Receiver(schema, limits),
        decoders=CapacityLimiter(settings.decoders),
        stager=stager,
        clock=clock,
        metrics=metrics,
        refusals=Refusals(metrics, settings.retry_after_s),
        tracing=spans,
    )

    def deleted() -> None:
        metrics.deleted()
        house.wake()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stager.start()
        async with house.going_on(), _every(HOUR, admission.forget), _every(_SAMPLING, metrics.sample):
            yield
        await stager.drain()
        spans.end()
        database.dispose()

    app = _Service(traces, lifespan)
    app.include_router(deletion(stager, clock, admit=partial(_admit_deletion, traces), deleted=deleted))
    app.include_router(latest(database))
    app.include_router(datasets(database))
    app.include_router(ledger(database, settings.yearly_cap_nano_rho))
    app.router.routes += [*probes(health), described(limits)]
    app.add_middleware(Counted, metrics=metrics, routes=_ROUTES)
    _refuse(app, traces.refusals)
    app.state.database = database
    app.state.health = health
    app.state.monitor = monitor(health, metrics)
    app.state.overload = traces.refusals.overload
    return app


@asynccontextmanager
async def _every(seconds: float, work: Callable[[], None]) -> AsyncIterator[None]:
    """Do something beside the block, again and again."""

    async def again() -> None:
        while True:
            await asyncio.sleep(seconds)
            work()

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()


def _database(settings: Settings, schema: Schema) -> Database:
    return Database.create(
        settings.db,
        schema,
        sandbox=settings.sandbox,
        yearly_cap=settings.yearly_cap_nano_rho,
        busy_timeout=settings.busy_timeout_s,
    )


def _admit_deletion(traces: Traces, request: Request) -> None:
    client = client_of(peer_of(request.scope), request.headers.getlist("x-forwarded-for"), traces.trusted)
    traces.admission.admit_request(client, Action.DELETE)


def _look(database: Database) -> None:
    """Raise unless reports could be staged."""
    with database.read() as transaction:
        transaction.closed_weeks()


class _Service(FastAPI):
    """FastAPI for everything but reports, which its layers would cost 50 µs each, an eighth of the time."""

    def __init__(self, traces: Traces, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> None:
        # No page of documentation: FastAPI's loads scripts from elsewhere, which tells others who reads it.
        # No redirect either: to whichever host the request named, and no sender of ours follows one.
        super().__init__(
            title="MetaVox collector",
            lifespan=lifespan,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
        )
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] == _TRACES:
            await self._traces(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _refuse(app: FastAPI, refusals: Refusals) -> None:
    """Answer what no endpoint does, and what goes wrong in those that are not OTLP's."""

    @app.exception_handler(HTTPException)
    async def nothing_here(request: Request, error: HTTPException) -> Response:
        refused = no_such_method(error.headers["Allow"]) if error.headers else no_such_path()
        media = media_of(request.headers) if request.url.path in _OTLP else None
        return refusals.response(refused, media)

    @app.exception_handler(StoreUnavailable)
    @app.exception_handler(Throttled)
    @app.exception_handler(Busy)
    async def refused(_request: Request, error: Exception) -> Response:
        return refusals.response(error, None)
