"""What was released, for whoever asks: a list of all, and the newest as one file, kept in memory."""

from __future__ import annotations

from threading import Lock

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from metavox_collector.dataset.listing import listing
from metavox_collector.dataset.newest import NewestRelease, newest_file
from metavox_collector.store import Database
from metavox_privacy.week import Week

_HEADERS = {"Cache-Control": "public, max-age=3600", "Vary": "Accept-Encoding"}


def datasets(database: Database) -> APIRouter:
    """``GET /v1/datasets``: the releases for the purpose *publish*."""
    router = APIRouter()

    @router.get("/v1/datasets")
    def listed() -> dict[str, object]:
        with database.read() as transaction:
            return {"datasets": listing(transaction)}

    return router


def latest(database: Database) -> APIRouter:
    """``GET /v1/releases/latest``: the newest for *publish*; 404 until there is one."""
    router, making = APIRouter(), Lock()
    kept: dict[Week, NewestRelease] = {}  # of one week: a release never changes

    def find() -> NewestRelease | None:
        with database.read() as transaction, making:
            found = transaction.newest_file("publish")
            if found is None:
                return None
            week, zipped = found
            if week not in kept:
                kept.clear()
                kept[week] = newest_file(zipped)
            return kept[week]

    @router.api_route("/v1/releases/latest", methods=["GET", "HEAD"])
    def newest(request: Request) -> Response:
        found = find()
        if found is None:
            return JSONResponse({"error": "nothing is released yet"}, 404, {"Cache-Control": "no-cache"})
        headers = _HEADERS | {"ETag": found.etag}
        if _is_known(request.headers.get("if-none-match", ""), found.etag):
            return Response(status_code=304, headers=headers)
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(found.zipped, 200, headers | {"Content-Encoding": "gzip"}, "application/json")
        return Response(found.body, 200, headers, "application/json")

    return router


def _is_known(header: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names the ETag, compared weakly (RFC 9110, section 13.1.2)."""
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or etag.removeprefix("W/") in named


def _takes_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` permits gzip; what is given the weight 0 is not permitted."""
    for part in header.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        if name in ("gzip", "*"):
            return weight.strip("0.") != "" if weight else True
    return False
