"""A person's token -> the end of their report. What the token is, no answer and no log repeats."""

from __future__ import annotations

import re
from collections.abc import Callable

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from metavox_collector.stage import Stager

_TOKEN = re.compile("[0-9a-fA-F]{64}")


def deletion(stager: Stager, stagers: CapacityLimiter, deleted: Callable[[], None]) -> APIRouter:
    """``DELETE /v1/reports/{token}``: 204 once committed, 404 if nothing of that name is staged, 400 for no token.

    Args:
        stager: Where reports are staged.
        stagers: Whose turn it is to wait for the database.
        deleted: Is called after each deletion.
    """
    router = APIRouter()

    @router.delete("/v1/reports/{token:path}")
    async def delete(token: str) -> Response:
        if not _TOKEN.fullmatch(token):
            return JSONResponse({"error": "a token is 64 hexadecimal digits"}, 400)
        if not await to_thread.run_sync(stager.delete, bytes.fromhex(token), limiter=stagers):
            return JSONResponse({"error": "nothing of that name is staged"}, 404)
        deleted()
        return Response(status_code=204)

    return router
