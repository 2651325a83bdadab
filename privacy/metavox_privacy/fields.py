"""What a schema is made of: dimensions, metrics and tables, each declared once with its reason."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Literal, TypeAlias

from metavox_privacy.buckets import bucket_of, range_label
from metavox_privacy.span import AttributeValue

Purpose: TypeAlias = Literal["improve", "publish"]
PURPOSES: tuple[Purpose, ...] = ("improve", "publish")
"""The two purposes that are asked apart: statistics for the maintainers, and the published datasets."""

Scope: TypeAlias = Literal["full", "coarse"]
"""How finely a release is cut: as the schema says, or coarser, for a fleet too small for that."""

UNKNOWN = "unknown"
"""The span does not say."""
OTHER = "other"
"""The span says something that is not in the public vocabulary; what it said is not kept."""


def quantity(value: AttributeValue | None) -> float | None:
    """A finite number that is not negative, or None for anything else that a span may hold."""
    if type(value) is float or (type(value) is int and value < 2**63):  # nearly always; the rest is slower
        return value if 0 <= value < math.inf else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


@dataclass(frozen=True)
class Choice:
    """A closed list of public names.

    Attributes:
        names: The names, in order, without ``other`` and ``unknown``, which every vocabulary has.
        aliases: Other spellings, lower case, of those names.
        version_parts: When above zero, how many dot-separated parts of a version are looked at.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    version_parts: int = 0

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every value that exists."""
        return (*self.names, OTHER, UNKNOWN)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {**self.aliases, **{name.lower(): name for name in self.names}}

    @cached_property
    def _exact(self) -> dict[str, str]:
        """The public names as they are written; a look-up in it is most of what a request costs."""
        return {name: name for name in self.names}

    def classify(self, value: AttributeValue | None) -> str:
        """Map whatever a span holds to the vocabulary."""
        if type(value) is str and value in self._exact:
            return self._exact[value]
        if value is None or value == "":
            return UNKNOWN
        try:
            spelling = str(value).lower()
        except ValueError:  # an integer of more digits than Python writes out, 4,300
            return OTHER
        if self.version_parts:
            spelling = ".".join(spelling.split(".")[: self.version_parts])
        return self._spellings.get(spelling, OTHER)


@dataclass(frozen=True)
class Range:
    """A number reduced to one of a few public ranges.

    Attributes:
        edges: Upper ends, inclusive, ascending, in ``unit``.
        unit: Printed after the number in the range's name.
        scale: How many of the span's units make one of ``unit``.
    """

    edges: tuple[float, ...]
    unit: str = ""
    scale: float = 1

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every value that exists."""
        ends = (None, *self.edges, None)
        return (*(range_label(a, b, self.unit) for a, b in itertools.pairwise(ends)), UNKNOWN)

    def classify(self, value: AttributeValue | None) -> str:
        """Map whatever a span holds to the vocabulary."""
        number = quantity(value)
        return UNKNOWN if number is None else self.vocabulary[bucket_of(self.edges, number / self.scale)]


@dataclass(frozen=True)
class Dimension:
    """One attribute that says in which group a request belongs.

    Attributes:
        name: The column's name in SQL and Parquet.
        attribute: The OpenTelemetry attribute that carries it on the wire.
        source: The attribute it is read from in a span on the user's machine.
        kind: How a value is mapped to the closed vocabulary.
        reason: Why it is needed.
        sensitivity: What it could say about a person, in a few words.
        expires: The first day on which it is recorded no more, unless somebody reviews it before.
        purposes: What it may be used for.
    """

    name: str
    attribute: str
    source: str
    kind: Choice | Range
    reason: str
    sensitivity: str
    expires: date
    purposes: tuple[Purpose, ...] = PURPOSES

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every value that exists, ``unknown`` last."""
        return self.kind.vocabulary


@dataclass(frozen=True)
class Metric:
    """One measured quantity, kept as a histogram over public buckets.

    Attributes:
        name: The metric's name in SQL and Parquet.
        attribute: The OpenTelemetry attribute that carries its histogram on the wire.
        source: The attribute it is read from in a span; for a rate, the one whose presence counts.
        edges: Inner bucket edges in ``unit``; empty for a rate, which has the buckets "absent" and "present".
        unit: UCUM unit.
        reason: Why it is needed.
        sensitivity: What it could say about a person, in a few words.
        expires: The first day on which it is recorded no more, unless somebody reviews it before.
        purposes: What it may be used for.
    """

    name: str
    attribute: str
    source: str
    edges: tuple[float, ...]
    unit: str
    reason: str
    sensitivity: str
    expires: date
    purposes: tuple[Purpose, ...] = PURPOSES

    @property
    def is_rate(self) -> bool:
        """Whether it counts how often something is present, rather than how much."""
        return not self.edges

    @property
    def buckets(self) -> int:
        """How many buckets its histogram has."""
        return 2 if self.is_rate else len(self.edges) + 1

    def observe(self, attributes: Mapping[str, AttributeValue]) -> int | None:
        """The bucket of one request, or None when the span does not say."""
        value = attributes.get(self.source)
        if self.is_rate:
            return int(value is not None)
        number = quantity(value)
        return None if number is None else bucket_of(self.edges, number)


@dataclass(frozen=True)
class Table:
    """One table of a release: its key, its metrics, and the part of the release's privacy budget each gets.

    Attributes:
        name: The table's and its file's name.
        dimensions: Names of the dimensions that make the key.
        metrics: The metrics whose histograms it holds, each with its thousandths of the release's ρ; none for a
            table of shares.
        count_permille: Thousandths of the release's ρ for its contributor counts.
        reason: Which question it answers.
    """

    name: str
    dimensions: tuple[str, ...]
    metrics: Mapping[str, int]
    count_permille: int
    reason: str

    @property
    def permille(self) -> int:
        """Thousandths of the release's ρ for all of it."""
        return self.count_permille + sum(self.metrics.values())
