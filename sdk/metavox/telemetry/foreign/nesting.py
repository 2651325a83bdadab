"""Each request once, though several instrumentations tell of it: around one another, or beside one another."""

from __future__ import annotations

import threading
from typing import TypeVar

MOST = 4096
"""How many spans are remembered; a span that outlives so many others may be counted twice."""

DEEPEST = 64
"""How many spans around a span are looked at; ids that somebody made up may go round in a circle."""


_Value = TypeVar("_Value")


class Nesting:
    """Which spans belong together. One request is told by the innermost span that tells it, and by one tracer.

    Two rules, for instrumentations tie their spans together or do not. A span within a counted one, or around one,
    is not counted; and of an engine only those of one tracer are, the first that told of a request.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may end a span in the middle of another one's
        self._parents: dict[int, int] = {}
        self._counted: dict[int, None] = {}
        self._around: dict[int, None] = {}
        self._tracers: dict[str, str] = {}

    def began(self, span_id: int, parent_id: int | None) -> None:
        """A span of any kind began within another, or within none."""
        if parent_id is not None:
            with self._lock:
                _remember(self._parents, span_id, parent_id)

    def claim(self, span_id: int, parent_id: int | None, engine: str, tracer: str) -> bool:
        """Whether this request, which ended now, is to be counted; if so, those around it are not."""
        with self._lock:
            ancestors = self._ancestors(parent_id)
            if self._tracers.setdefault(engine, tracer) != tracer:
                return False
            if span_id in self._around or any(each in self._counted for each in ancestors):
                return False
            self._mark(span_id, ancestors)
            return True

    def counted_elsewhere(self, span_id: int, parent_id: int | None) -> None:
        """This request is counted on another way, so that those around it are not."""
        with self._lock:
            self._mark(span_id, self._ancestors(parent_id))

    def _mark(self, span_id: int, ancestors: list[int]) -> None:
        _remember(self._counted, span_id, None)
        for each in ancestors:
            _remember(self._around, each, None)

    def _ancestors(self, parent_id: int | None) -> list[int]:
        found: list[int] = []
        while parent_id is not None and len(found) < DEEPEST:
            found.append(parent_id)
            parent_id = self._parents.get(parent_id)
        return found


def _remember(known: dict[int, _Value], key: int, value: _Value) -> None:
    if len(known) >= MOST:
        del known[next(iter(known))]
    known[key] = value
