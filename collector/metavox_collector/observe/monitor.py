"""``/health``, ``/ready`` and ``/metrics``, and what counts the answers of all endpoints."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metavox_collector.observe.health import Health
from metavox_collector.observe.metrics import Metrics


def probes(health: Health) -> list[Route]:
    """``/health`` for whoever would restart the process, ``/ready`` for whoever sends requests to it."""

    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        trouble = await health.trouble()
        return JSONResponse({"status": trouble or "ready"}, 503 if trouble else 200)

    return [Route("/health", alive), Route("/ready", ready)]


def monitor(health: Health, metrics: Metrics) -> Starlette:
    """What the operator's own monitoring may ask; it listens apart from the service."""

    def numbers(_request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[*probes(health), Route("/metrics", numbers)])


class Counted:
    """Counts the answers of an application, by route and status.

    Args:
        app: What answers.
        metrics: Where they are counted.
        routes: What each path is called, or each beginning of one that ends in a slash. A path of a sender's own
            making, or a token in one, becomes no label.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Mapping[str, str]) -> None:
        self._app = app
        self._metrics = metrics
        self._whole = {path: name for path, name in routes.items() if not path.endswith("/")}
        self._begun = [(path, name) for path, name in routes.items() if path.endswith("/")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._name(scope["path"])

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(route, message["status"])
            await send(message)

        await self._app(scope, receive, counted)

    def _name(self, path: str) -> str:
        name = self._whole.get(path)
        return name or next((name for begin, name in self._begun if path.startswith(begin)), "other")
