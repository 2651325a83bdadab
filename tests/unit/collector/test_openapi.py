"""The document describes every endpoint there is, and none that is not."""

from __future__ import annotations

import asyncio

import httpx
from starlette.routing import Route

from metavox_collector.app import create_app
from metavox_collector.endpoints.openapi import document
from metavox_collector.receive import Limits
from metavox_collector.settings import Settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def test_every_endpoint_is_described_and_every_other_method_is_refused(tmp_path):
    settings = Settings(db=f"sqlite:///{tmp_path}/collector.db")
    app = create_app(settings)
    limits = Limits(settings.max_body_bytes, settings.max_inflated_bytes, settings.max_reports)
    described = document(limits)
    routed = {_path(route) for route in _routes(app.routes)}
    assert routed | {"/v1/traces"} == set(described["paths"])  # which the router's layers would make slower

    async def ask() -> dict[str, set[str]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
            assert (await client.get("/openapi.json")).json() == described
            return {path: await _answered(client, path) for path in described["paths"]}

    found = asyncio.run(ask())
    app.state.database.dispose()
    for path, methods in found.items():
        listed = {method.upper() for method in described["paths"][path]}
        assert methods - {"HEAD"} == listed - {"HEAD"}, path


def _routes(routes):
    for route in routes:
        yield from [route] if isinstance(route, Route) else _routes(route.original_router.routes)


def _path(route):
    return route.path.replace(":path", "")


async def _answered(client: httpx.AsyncClient, path: str) -> set[str]:
    """The methods that are not refused; of the others each answer says which are not."""
    answers = {method: await client.request(method, path.replace("{token}", "x")) for method in METHODS}
    refused = {method: answer for method, answer in answers.items() if answer.status_code == 405}
    allowed = answers.keys() - refused.keys()
    for answer in refused.values():
        assert set(answer.headers["Allow"].split(", ")) == allowed, path
    return allowed
