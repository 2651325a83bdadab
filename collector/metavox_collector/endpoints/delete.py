"""A person's token -> the end of their report. What the token is, no answer and no log repeats."""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from metavox_collector.clock import Clock
from metavox_collector.stage import Stager

_TOKEN = re.compile("[0-9a-fA-F]{64}")


def deletion(
    stager: Stager, clock: Clock, *, admit: Callable[[Request], None], deleted: Callable[[], None]
) -> APIRouter:
    """``DELETE /v1/reports/{token}``: 204 once committed, 404 if nothing of that name is staged, 400 for no token.

    Args:
        stager: Where reports are staged.
        clock: What time it is.
        admit: Raises Throttled for who asks too often.
        deleted: Is called after each deletion.
    """
    router = APIRouter()

    @router.delete("/v1/reports/{token:path}")
    async def delete(token: str, request: Request) -> Response:
        if not _TOKEN.fullmatch(token):
            return JSONResponse({"error": "a token is 64 hexadecimal digits"}, 400)
        admit(request)
        if not await stager.delete(bytes.fromhex(token), clock()):
            return JSONResponse({"error": "nothing of that name is staged"}, 404)
        deleted()
        return Response(status_code=204)

    return router
