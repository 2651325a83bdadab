"""Values <-> the one way in which they are written as JSON, so that no byte of a file can change unseen."""

from __future__ import annotations

import json
from typing import Any

from metavox_collector.dataset.json_text import legible as legible  # the form of files, beside that of hashes


class NotCanonical(ValueError):
    """The bytes are not JSON, or are written in another way than the one that is permitted."""


def compact(value: Any) -> bytes:
    """ASCII JSON on one line, with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read(content: bytes) -> Any:
    """JSON without repeated keys and without NaN; raises NotCanonical."""
    try:
        return json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"it is not JSON: {error}") from None


def read_compact(content: bytes) -> Any:
    """What :func:`compact` has written; raises NotCanonical for the same value written otherwise."""
    return _as_written(content, compact)


def read_legible(content: bytes) -> Any:
    """What :func:`legible` has written; raises NotCanonical for the same value written otherwise."""
    return _as_written(content, legible)


def _as_written(content: bytes, write: Any) -> Any:
    value = read(content)
    try:
        same = write(value) == content
    except (ValueError, RecursionError):  # a lone surrogate is JSON, and no UTF-8
        same = False
    if not same:
        raise NotCanonical("it is not written as it has to be: white space, order, escapes or numbers differ")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCanonical("a key is there twice")
    return found


def _no_number(name: str) -> float:
    raise NotCanonical(f"{name} is no number of JSON")
