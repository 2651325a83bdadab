"""The first stage's type: one finished request, as an instrumentation describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

AttributeValue: TypeAlias = (
    str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
)


@dataclass(frozen=True, slots=True)
class Span:
    """One inference request in OpenTelemetry's terms.

    It lives in memory only: it may hold whatever the instrumentation put into it. What leaves the
    machine is a :class:`~metavox_privacy.anonymize.Record`, which is built from the schema.

    Attributes:
        name: The span's name, ``"{operation} {model}"`` in the GenAI conventions.
        start_time: Unix time in nanoseconds.
        end_time: Unix time in nanoseconds.
        attributes: OpenTelemetry attributes by name.
    """

    name: str
    start_time: int
    end_time: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
