"""What a week decides about every cell that is reported for it: its times, and which fields had expired."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from metavox_privacy.fields import UNKNOWN
from metavox_privacy.report import ReportCell
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week
from metavox_privacy.wire import names
from metavox_privacy.wire.rejected import Refusal, require


@dataclass(frozen=True, slots=True)
class Frame:
    """One week.

    Attributes:
        week: The week itself.
        start: Its first moment, in nanoseconds since 1970.
        end: The first moment after it.
        gone_dimensions: Place and attribute of each dimension that had expired before the week began.
        gone_metrics: Name and attribute of each metric that had.
    """

    week: Week
    start: int
    end: int
    gone_dimensions: tuple[tuple[int, str], ...]
    gone_metrics: tuple[tuple[str, str], ...]

    def check(self, cell: ReportCell) -> None:
        """Refuse what was recorded of an expired field. In the week in which one expires it may be there or not."""
        for place, attribute in self.gone_dimensions:
            require(cell.key[place] == UNKNOWN, "expired_field", f"{attribute} has expired")
        for name, attribute in self.gone_metrics:
            require(name not in cell.histograms, "expired_field", f"{attribute} has expired")


class Frames:
    """The frames of the weeks that were asked for lately."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.of = lru_cache(maxsize=64)(self._of)

    def _of(self, text: str) -> Frame:
        """The frame of a week as it is written on the wire; raises Refusal."""
        try:
            week = Week.parse(text)
        except ValueError:
            raise Refusal("week", f"{names.WEEK} is not an ISO week") from None
        first = week.start.date()
        dimensions, metrics = self._schema.dimensions, self._schema.metrics
        return Frame(
            week,
            names.nano(week.start),
            names.nano(week.end),
            tuple((place, d.attribute) for place, d in enumerate(dimensions) if first >= d.expires),
            tuple((metric.name, metric.attribute) for metric in metrics if first >= metric.expires),
        )
