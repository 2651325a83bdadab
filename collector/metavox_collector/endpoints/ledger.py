"""What every release has cost and what was corrected, for whoever asks: nothing in it is about anybody."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from metavox_collector.dataset.account import account
from metavox_collector.endpoints.cached import Cached
from metavox_collector.store import Database


def ledger(database: Database, yearly_cap: int) -> APIRouter:
    """``GET /v1/ledger``: the balance of each ISO year, and every entry as it is kept.

    It does not vouch for the chain, which whoever asks can verify from what is answered, with nobody's help.

    Args:
        database: Where it is kept.
        yearly_cap: Most that an ISO year's releases may cost, in nano-ρ.
    """
    router = APIRouter()

    @router.api_route("/v1/ledger", methods=["GET", "HEAD"])
    def all_of_it(request: Request) -> Response:
        with database.read() as transaction:
            history = transaction.ledger()
        text = json.dumps(account(history, yearly_cap), ensure_ascii=False, separators=(",", ":"))
        return Cached.of(text.encode()).answer(request)

    return router
