"""Cells <-> the bytes that are staged: numbers in place of words, so that no string can be stored at all.

A cell's key is one little-endian ``uint16`` for each dimension, the word's place in its vocabulary. Its histograms
are three bytes for each bucket that is not empty: a little-endian ``uint16`` that counts through the buckets of all
the schema's metrics in order, and a ``uint8`` that is one less than the units in it (1 to 256), by rising bucket.
What the numbers mean follows from the schema, whose fingerprint the database holds. A report's purposes are bits.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.report import Histogram, Report, ReportCell
from metavox_privacy.schema import Schema

PERMITS: dict[Purpose, int] = {purpose: 1 << bit for bit, purpose in enumerate(PURPOSES)}
"""The bit that a report's flags have for each purpose that it permits."""

SYNTHETIC = 1 << len(PURPOSES)
"""The bit that a simulated report's flags have."""


def flags_of(report: Report) -> int:
    """What a report permits, and whether it was simulated, as bits."""
    return sum(PERMITS[purpose] for purpose in report.purposes) | SYNTHETIC * report.synthetic


class Packing:
    """How one schema's cells are packed.

    Attributes:
        schema: The declaration that gives the numbers their meaning.
        slots: The first place of each metric's buckets, by the metric's name.
        width: How many places there are, the buckets of all metrics together.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        ends = list(itertools.accumulate((metric.buckets for metric in schema.metrics), initial=0))
        self.slots = {metric.name: first for metric, first in zip(schema.metrics, ends, strict=False)}
        self.width = ends[-1]
        self._codes = [{word: code for code, word in enumerate(d.vocabulary)} for d in schema.dimensions]
        self._words = [tuple(d.vocabulary) for d in schema.dimensions]
        self._key = struct.Struct(f"<{len(schema.dimensions)}H")

    def __reduce__(self) -> tuple[type[Packing], tuple[Schema]]:
        """A copy for another process is made anew, as :mod:`struct`'s compiled forms cannot be sent."""
        return Packing, (self.schema,)

    def pack(self, cell: ReportCell) -> tuple[bytes, bytes]:
        """A cell's key and its histograms, as bytes."""
        key = self._key.pack(*[codes[word] for codes, word in zip(self._codes, cell.key, strict=True)])
        pairs: list[int] = []  # most buckets are empty, and compress() passes by those in C: 8 us instead of 12
        for name, first in self.slots.items():
            units = cell.histograms.get(name, ())
            for bucket in itertools.compress(itertools.count(), units):
                pairs += first + bucket, units[bucket] - 1
        return key, struct.pack("<" + "HB" * (len(pairs) // 2), *pairs)

    def unpack(self, key: bytes, histograms: bytes) -> ReportCell:
        """The cell that was packed.

        Raises:
            ValueError: if the bytes are no cell of this schema.
        """
        try:
            words = tuple(words[code] for words, code in zip(self._words, self._key.unpack(key), strict=True))
            units = dict(_places(histograms, self.width))
        except (struct.error, IndexError) as error:
            raise ValueError(f"not a cell of schema version {self.schema.version}: {error}") from None
        cell = ReportCell(words, dict(self._histograms(units)))
        if any(sum(histogram) != self.schema.units for histogram in cell.histograms.values()):
            raise ValueError(f"a histogram does not sum to {self.schema.units}")
        return cell

    def _histograms(self, units: dict[int, int]) -> Iterator[tuple[str, Histogram]]:
        for metric in self.schema.metrics:
            first = self.slots[metric.name]
            histogram = tuple(units.get(place, 0) for place in range(first, first + metric.buckets))
            if any(histogram):
                yield metric.name, histogram


def _places(histograms: bytes, width: int) -> Iterator[tuple[int, int]]:
    before = -1
    for place, less in struct.iter_unpack("<HB", histograms):
        if not before < place < width:
            raise IndexError(f"place {place} after {before} of {width}")
        before = place
        yield place, less + 1
