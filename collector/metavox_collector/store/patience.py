"""A connection to PostgreSQL that waits for an answer as long as is said, and not for ever.

A server whose machine stands still answers nothing and cuts nothing: neither its own timeouts nor TCP's end that.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection

T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself, and raises OperationalError, when the server has not answered in time.

    Attributes:
        patience: For how many seconds it waits for each answer; None for ever.
    """

    patience: float | None = None

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """What psycopg does for every answer: drive a generator until it is there."""
        return super().wait(gen if self.patience is None else self._bounded(gen, self.patience), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, T], patience: float) -> Generator[Any, Any, T]:
        deadline = time.monotonic() + patience
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited  # every tenth of a second, if there is nothing
                if ready:
                    deadline = time.monotonic() + patience
                elif time.monotonic() > deadline:
                    self.close()  # its state is not known, and the server may answer yet
                    raise psycopg.OperationalError(f"the server has not answered for {patience:g} s")
                awaited = gen.send(ready)
        except StopIteration as end:
            answer: T = end.value
            return answer


@contextmanager
def without_limit(connection: Connection) -> Iterator[None]:
    """Wait for ever on this connection until the block ends; the server's own limits end with the transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    before, driver.patience = driver.patience, None
    try:
        yield
    finally:
        driver.patience = before
