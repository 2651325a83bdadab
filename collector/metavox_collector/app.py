"""The composition root of the HTTP service: who comes after whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from ipaddress import ip_network

from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from metavox_collector.admission import Admission, Throttled
from metavox_collector.clock import Clock, utc_now
from metavox_collector.dataset.listing import listing
from metavox_collector.delete import deletion
from metavox_collector.errors import StoreUnavailable
from metavox_collector.housekeeping import Housekeeping
from metavox_collector.intake import Intake
from metavox_collector.latest import latest
from metavox_collector.observe import Counted, Health, Metrics, monitor, probes
from metavox_collector.receive import Limits, Receiver, no_such_method, no_such_path
from metavox_collector.refusals import Refusals, media_of
from metavox_collector.settings import Settings
from metavox_collector.stage import Busy, Stager
from metavox_collector.store import Database
from metavox_collector.traces import Traces
from metavox_privacy.schema import SCHEMA, Schema

_ROUTES = {
    "/v1/traces": "traces",
    "/v1/reports/": "reports",
    "/v1/releases/latest": "latest",
    "/v1/datasets": "datasets",
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
    database = _database(settings, schema)
    metrics = Metrics()
    stager = Stager(database, settings.accepted_for, room=settings.max_waiting_reports, metrics=metrics)
    housekeeping = Housekeeping(database, clock, settings.accepted_for)
    health = Health(lambda: stager.is_full, partial(_look, database))
    refusals = Refusals(metrics, settings.retry_after_s)
    traces = Traces(
        admission=Admission.of(settings, clock, counts),
        trusted=tuple(ip_network(network) for network in settings.trusted_proxies),
        intake=Intake(settings.max_body_bytes, settings.max_waiting_bytes, settings.body_timeout_s, metrics),
        receiver=Receiver(
            schema, Limits(settings.max_body_bytes, settings.max_inflated_bytes, settings.max_reports)
        ),
        decoders=CapacityLimiter(settings.decoders),
        stager=stager,
        clock=clock,
        metrics=metrics,
        refusals=refusals,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stager.start()
        async with housekeeping.going_on():
            yield
        await stager.drain()
        database.dispose()

    app = _bare(lifespan)
    app.router.routes.append(Route("/v1/traces", traces))
    app.include_router(deletion(stager, clock, housekeeping.wake))
    app.include_router(latest(database))
    app.router.routes += probes(health)
    app.add_middleware(Counted, metrics=metrics, routes=_ROUTES)
    _refuse(app, refusals)
    app.state.database = database
    app.state.health = health
    app.state.monitor = monitor(health, metrics)
    app.state.overload = refusals.overload

    @app.get("/v1/datasets")
    def datasets() -> dict[str, object]:
        with database.read() as transaction:
            return {"datasets": listing(transaction)}

    return app


def _database(settings: Settings, schema: Schema) -> Database:
    return Database.create(
        settings.db,
        schema,
        sandbox=settings.sandbox,
        yearly_cap=settings.yearly_cap_nano_rho,
        busy_timeout=settings.busy_timeout_s,
    )


def _look(database: Database) -> None:
    """Raise unless reports could be staged."""
    with database.read() as transaction:
        transaction.closed_weeks()


def _bare(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    # No page of documentation: FastAPI's loads scripts from elsewhere, which tells others who reads it.
    # No redirect either: to whichever host the request named, and no sender of ours follows one.
    return FastAPI(
        title="MetaVox collector",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )


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
