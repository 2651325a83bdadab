"""Closes in processes of their own, for tests: one that is killed at a step, and several at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from typing import Any

from sqlalchemy import Engine, event

from metavox_collector.close import close_week
from metavox_collector.errors import StoreUnavailable
from metavox_collector.fold.sql import fold_week
from metavox_collector.fold.sums import Sums
from metavox_collector.store import Database, Transaction
from metavox_privacy.budget import Account, AlreadyReleased
from metavox_privacy.fields import Scope
from metavox_privacy.mechanism import GaussianMechanism
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week
from tests.spans import small_schema, table
from tests.unit.collector.releases import AFTER, generous


def tiny_schema() -> Schema:
    """Two tables, whose noise is drawn in a moment."""
    small = small_schema()
    return replace(small, tables=(table("performance", small), table("hardware", small)))


def context() -> ForkServerContext:
    """Processes forked from one that has everything imported, so that each starts in a moment."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([__name__])
    return made


def steps_of(close: Callable[..., None], *arguments: Any) -> tuple[list[str], int | None]:
    """Run one in a process of its own; the steps that it began, and its exit status."""
    ours, theirs = context().Pipe(duplex=False)
    process = context().Process(target=close, args=(*arguments, theirs))
    process.start()
    theirs.close()
    steps = []
    try:
        while True:
            steps.append(ours.recv())
    except EOFError:
        process.join()
    return steps, process.exitcode


def close_until(last: int, url: str, week: Week, told: Connection) -> None:
    """Close a week, tell of each step before it is taken, and die instead of taking one, by SIGKILL.

    A step is a statement that is more than a question, a commit, a draw, the fold, and emptying the log.
    """
    begun = 0

    def step(name: str) -> None:
        nonlocal begun
        told.send(name)
        begun += 1
        if begun == last:
            os.kill(os.getpid(), signal.SIGKILL)

    draw = GaussianMechanism.draw

    def drawn(mechanism: GaussianMechanism, values: list[int], account: Account) -> list[int]:
        step("draw")
        return draw(mechanism, values, account)

    def fold(transaction: Transaction, folded: Week, scope: Scope) -> Sums:
        step("fold")
        sums = fold_week(transaction, folded, scope)
        step("folded")
        return sums

    database = _Stepping.existing(url, tiny_schema())
    database.step = step
    GaussianMechanism.draw = drawn  # type: ignore[method-assign]  # in this process, which is here for that
    event.listen(Engine, "before_cursor_execute", lambda _c, _k, sql, *_: sql.startswith("SELECT") or step(sql))
    event.listen(Engine, "commit", lambda _connection: step("commit"))
    close_week(database, week, generous(url), now=AFTER, fold=fold)
    step("end")


class _Stepping(Database):
    step: Callable[[str], None]

    def scrub(self) -> bool:
        self.step("scrub")
        return super().scrub()


def close_together(barrier: Barrier, url: str, week: Week, told: Connection) -> None:
    """Close a week when the others do, and tell how that ended."""
    database = Database.existing(url, tiny_schema(), busy_timeout=20)
    barrier.wait(30)
    try:
        close_week(database, week, generous(url), now=week.end + timedelta(days=10))
        told.send("released")
    except (AlreadyReleased, StoreUnavailable) as error:
        told.send(type(error).__name__)
    finally:
        database.dispose()
