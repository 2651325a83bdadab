"""A stranger's bytes -> the newest public release, or a clear refusal. Nothing of it is believed before it is read.

It is the file of a collector's ``GET /v1/releases/latest``. Every number is checked for its kind and its bounds,
every word is cleaned of what a terminal would obey, and what this version does not know is not looked at.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from metavox_privacy.week import Week

FORMAT = 1
LONGEST = 4 * 2**20
"""Bytes of a release at most."""

DIMENSIONS = ("accelerator", "model", "quantization", "concurrency")

COARSE = DIMENSIONS[:2]
"""What a release of a small fleet is cut by."""

ANY = "any"
"""The word of a coarse release for what it is not cut by."""
METRICS = ("time_to_first_token", "time_per_output_token")
QUANTILES = ("p50", "p75", "p90", "p95", "p99")

_MOST_CELLS = 20_000
_MOST_EDGES = 1024
_LARGEST = 2**53
_LONGEST_WORD = 100

T = TypeVar("T")


class NotARelease(ValueError):
    """The bytes are no release that this version understands; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of one cell.

    Attributes:
        quantiles: Seconds by name, of :data:`QUANTILES`; None where the noise hides it.
        histogram: Units of every bucket, in which each installation weighs the same; not all 0.
    """

    quantiles: Mapping[str, float | None]
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PublicCell:
    """What was released of one combination.

    Attributes:
        key: One word for each of :data:`DIMENSIONS`, :data:`ANY` for what the release is not cut by.
        contributors: Noisy number of installations.
        measured: By metric; a metric of which the noise hides all is absent.
    """

    key: tuple[str, ...]
    contributors: int
    measured: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class PublicRelease:
    """The newest public release.

    Attributes:
        week: The week in which the requests ended.
        synthetic: Whether the installations were simulated, so that nothing was measured.
        note: The publisher's own words about it.
        edges: By metric, the inner edges of its buckets, in seconds.
        cells: The published combinations.
    """

    week: Week
    synthetic: bool
    note: str
    edges: Mapping[str, tuple[float, ...]]
    cells: tuple[PublicCell, ...]


def parse_release(data: bytes) -> PublicRelease:
    """Read a release.

    Raises:
        NotARelease: if the bytes are anything else, or of a newer format.
    """
    if len(data) > LONGEST:
        raise NotARelease(f"it is longer than {LONGEST} bytes")
    document = _object(_loaded(data), "it")
    if _whole(document.get("format"), "format") != FORMAT:
        raise NotARelease("it has a format that this version of metavox does not know; update metavox")
    dimensions = document.get("dimensions")
    if dimensions not in (list(DIMENSIONS), list(COARSE)):
        raise NotARelease("its cells have other dimensions than this version of metavox compares; update metavox")
    metrics = _object(document.get("metrics"), "metrics")
    edges = {name: _edges(metrics.get(name), name) for name in METRICS}
    cells = _list(document.get("cells"), "cells", _MOST_CELLS)
    return PublicRelease(
        week=_week(document.get("week")),
        synthetic=_flag(document.get("synthetic"), "synthetic"),
        note=_word(document.get("note", ""), "note", longest=2000),
        edges=edges,
        cells=tuple(_cell(cell, edges, len(dimensions)) for cell in cells),
    )


def cleaned(text: str) -> str:
    """A stranger's words, fit for a terminal: nothing that moves the cursor, colours or reverses what follows."""
    return "".join(char if char.isprintable() else " " for char in text)


def _loaded(data: bytes) -> Any:
    def refuse(_name: str) -> NoReturn:
        raise ValueError

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):  # a number of thousands of digits is a ValueError too
        raise NotARelease("it is not JSON in UTF-8") from None


def _cell(value: Any, edges: Mapping[str, tuple[float, ...]], words: int) -> PublicCell:
    cell = _object(value, "a cell")
    key = _list(cell.get("key"), "key", words)
    if len(key) != words:
        raise NotARelease("a cell's key has too few words")
    measured = {name: _measured(cell.get(name), len(edges[name]) + 1) for name in METRICS}
    return PublicCell(
        (*(_word(word, "key") for word in key), *[ANY] * (len(DIMENSIONS) - words)),
        _whole(cell.get("contributors"), "contributors"),
        {name: found for name, found in measured.items() if found is not None},
    )


def _measured(value: Any, buckets: int) -> Measured | None:
    given = _object(value, "a metric of a cell")
    quantiles = {name: _optional(given.get(name), _positive, name) for name in QUANTILES}
    first = _optional(given.get("first_bucket"), _whole, "first_bucket")
    units = _optional(given.get("histogram"), lambda item, what: _list(item, what, buckets), "histogram")
    known = [figure for figure in quantiles.values() if figure is not None]
    if first is None or units is None:
        if known or first is not None or units is not None:
            raise NotARelease("a metric of a cell has figures and no histogram")
        return None
    histogram = [_whole(unit, "histogram") for unit in units]
    if first + len(histogram) > buckets or not any(histogram) or quantiles["p50"] is None:
        raise NotARelease("a histogram does not fit its buckets, or holds nothing")
    if known != sorted(known):
        raise NotARelease("the quantiles of a cell are not in order")
    after = buckets - first - len(histogram)
    return Measured(quantiles, (*([0] * first), *histogram, *([0] * after)))


def _edges(value: Any, name: str) -> tuple[float, ...]:
    metric = _object(value, name)
    if metric.get("unit") != "s":
        raise NotARelease(f"{name} is not in seconds")
    edges = tuple(_positive(edge, "bucket_edges") for edge in _list(metric.get("bucket_edges"), name, _MOST_EDGES))
    if len(edges) < 2 or any(low >= high for low, high in itertools.pairwise(edges)):
        raise NotARelease(f"the bucket edges of {name} do not ascend")
    return edges


def _week(value: Any) -> Week:
    try:
        return Week.parse(_word(value, "week"))
    except ValueError:
        raise NotARelease("its week is not written like 2026-W47") from None


def _optional(value: Any, read: Callable[[Any, str], T], what: str) -> T | None:
    return None if value is None else read(value, what)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotARelease(f"{what} is not a JSON object")
    return value


def _list(value: Any, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise NotARelease(f"{what} is not a list of at most {most}")
    return value


def _word(value: Any, what: str, longest: int = _LONGEST_WORD) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise NotARelease(f"{what} is not a text of at most {longest} letters")
    return cleaned(value)


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise NotARelease(f"{what} is not true or false")
    return value


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise NotARelease(f"{what} is not a whole number from 0 to 2 to the 53")
    return value


def _positive(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-9 <= value <= 1e9:
        raise NotARelease(f"{what} is not a number of seconds above 0")
    return float(value)
