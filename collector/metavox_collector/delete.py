"""A person's token -> the end of their report. What the token is, no answer and no log repeats."""

from __future__ import annotations

import logging
import re
from functools import partial

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

from metavox_collector.errors import StoreUnavailable
from metavox_collector.stage import Stager

_log = logging.getLogger(__name__)
_TOKEN = re.compile("[0-9a-fA-F]{64}")


def deletion(stager: Stager, stagers: CapacityLimiter) -> APIRouter:
    """``DELETE /v1/reports/{token}``: 204 once committed, 404 if nothing of that name is staged, 400 for no token.

    Args:
        stager: Where reports are staged.
        stagers: Whose turn it is to wait for the database.
    """
    router, overwriters = APIRouter(), CapacityLimiter(1)

    @router.delete("/v1/reports/{token:path}")
    async def delete(token: str) -> Response:
        if not _TOKEN.fullmatch(token):
            return JSONResponse({"error": "a token is 64 hexadecimal digits"}, 400)
        if not await to_thread.run_sync(stager.delete, bytes.fromhex(token), limiter=stagers):
            return JSONResponse({"error": "nothing of that name is staged"}, 404)
        # When it has been answered, for whoever reads the database may hold this up for seconds.
        overwriting = BackgroundTask(partial(to_thread.run_sync, _overwrite, stager, limiter=overwriters))
        return Response(status_code=204, background=overwriting)

    return router


def _overwrite(stager: Stager) -> None:
    try:
        stager.overwrite()
    except Exception as error:  # the person was answered; what is left is tried again every hour
        kind = error.kind if isinstance(error, StoreUnavailable) else type(error).__name__
        _log.warning("the last bytes of a deleted report could not be overwritten yet (%s)", kind)
