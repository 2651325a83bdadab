"""Span -> Record: built from the schema, so that what the schema does not name cannot be in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TypeAlias

from metavox_privacy.fields import UNKNOWN
from metavox_privacy.schema import Schema
from metavox_privacy.span import Span
from metavox_privacy.week import Week

CellKey: TypeAlias = tuple[str, ...]
"""One word of each dimension's vocabulary, in the schema's order."""


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
        week = Week.of_unix_nano(span.end_time)
    except (ValueError, OverflowError, OSError):  # a clock that is not set
        return None
    today = datetime.fromtimestamp(span.end_time // 10**9, timezone.utc).date()
    cell = tuple(
        dimension.kind.classify(attributes.get(dimension.source)) if _alive(dimension.expires, today) else UNKNOWN
        for dimension in schema.dimensions
    )
    buckets = {
        metric.name: bucket
        for metric in schema.metrics
        if _alive(metric.expires, today) and (bucket := metric.observe(attributes)) is not None
    }
    return Record(week, cell, buckets)


def _alive(expires: date, today: date) -> bool:
    return today < expires
