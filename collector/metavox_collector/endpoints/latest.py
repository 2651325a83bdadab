"""What was released, for whoever asks: a list of all, and the newest as one file, kept in memory."""

from __future__ import annotations

from threading import Lock

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from metavox_collector.dataset.listing import listing
from metavox_collector.endpoints.cached import Cached
from metavox_collector.store import Database


def datasets(database: Database) -> APIRouter:
    """``GET /v1/datasets``: the releases for the purpose *publish*."""
    router = APIRouter()

    @router.get("/v1/datasets")
    def listed() -> dict[str, object]:
        with database.read() as transaction:
            return {"datasets": listing(transaction)}

    return router


def latest(database: Database) -> APIRouter:
    """``GET /v1/releases/latest``: the newest for *publish* that was not withdrawn; 404 until there is one."""
    router, making = APIRouter(), Lock()
    kept: list[Cached] = []  # one; its figures may be corrected, so that the week alone does not name it

    def find() -> Cached | None:
        with database.read() as transaction, making:
            found = transaction.newest_file("publish")
            if found is None:
                kept.clear()
                return None
            _, zipped = found
            if not kept or kept[0].zipped != zipped:
                kept[:] = [Cached.of_zipped(zipped)]
            return kept[0]

    @router.api_route("/v1/releases/latest", methods=["GET", "HEAD"])
    def newest(request: Request) -> Response:
        found = find()
        if found is None:
            return JSONResponse({"error": "nothing is released yet"}, 404, {"Cache-Control": "no-cache"})
        return found.answer(request)

    return router
