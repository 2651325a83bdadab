"""Span -> Record: built from the schema, so that what the schema does not name cannot be in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeAlias

from metavox_privacy.fields import UNKNOWN, Choice, Metric, Range
from metavox_privacy.schema import Schema
from metavox_privacy.span import Span
from metavox_privacy.week import Week

CellKey: TypeAlias = tuple[str, ...]
"""One word of each dimension's vocabulary, in the schema's order."""

_NANOSECONDS_OF_A_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Record:
    """One request, anonymous: a week, a combination of public words, and bucket numbers.

    Attributes:
        week: The ISO week in which the request ended.
        cell: One word of each dimension's vocabulary, in the schema's order.
        buckets: By metric name, the bucket that the request fell into; a metric that the span does not
            state is absent.
    """

    week: Week
    cell: CellKey
    buckets: Mapping[str, int]


def anonymize(span: Span, schema: Schema) -> Record | None:
    """Build the record of a finished request; None when the span is not of a request, or of no week."""
    attributes = span.attributes
    if "gen_ai.request.model" not in attributes:
        return None
    try:
        day = _day(span.end_time // _NANOSECONDS_OF_A_DAY, schema)
    except (ValueError, OverflowError, OSError):  # a clock that is not set
        return None
    cell = tuple([word if kind is None else kind.classify(attributes.get(word)) for word, kind in day.words])
    buckets = {}
    for metric in day.metrics:
        bucket = metric.observe(attributes)
        if bucket is not None:
            buckets[metric.name] = bucket
    return Record(day.week, cell, buckets)


@dataclass(frozen=True, slots=True)
class _Day:
    """What of a schema is recorded on one day.

    Attributes:
        schema: The schema.
        number: Days since the Unix epoch.
        week: The day's week.
        words: For each dimension where its word is read from and how; of an expired one the word itself, and None.
        metrics: Those that have not expired.
    """

    schema: Schema
    number: int
    week: Week
    words: tuple[tuple[str, Choice | Range | None], ...]
    metrics: tuple[Metric, ...]


_latest: _Day | None = None


def _day(number: int, schema: Schema) -> _Day:
    """Kept from one request to the next: nearly all are of the same day."""
    global _latest
    day = _latest
    if day is None or day.number != number or day.schema is not schema:
        day = _latest = _day_of(number, schema)
    return day


def _day_of(number: int, schema: Schema) -> _Day:
    today = datetime.fromtimestamp(number * 86_400, timezone.utc)
    date = today.date()
    return _Day(
        schema,
        number,
        Week.of(today),
        tuple((d.source, d.kind) if date < d.expires else (UNKNOWN, None) for d in schema.dimensions),
        tuple(metric for metric in schema.metrics if date < metric.expires),
    )
