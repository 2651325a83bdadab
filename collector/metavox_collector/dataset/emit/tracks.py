"""The drawings of the release browser: one row of a chart is one small SVG, placed by percent, so that it needs no
script and fits any width; its label and its numbers stand beside it as text.

Drawn here and by no library: altair writes SVG by a browser's engine of its own (vl-convert), and matplotlib
one of a fixed width whose words are outlines, which neither a phone nor a screen reader has any use for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_EDGE = 4.0
"""Percent of the width that are left free on both sides, for the marks and the axis' labels."""
_LANE = 14
_FREE = 4
_TICKS_MOST = 7
_STEPS = ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,))

SHAPES = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "M-4 -4h8v8h-8z",
    "M0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    "M0 -5l5 9h-10z",
    "M0 5l5 -9h-10z",
    "M-5 -1.5h3.5v-3.5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5z",
)
"""Circle, square, diamond, two triangles, cross: not everybody can tell series by colour alone."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure with its interval, in one of the chart's series."""

    series: int
    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A logarithmic axis from one value to another, both positive, the second larger."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent of the width from the left."""
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return _EDGE + (100 - 2 * _EDGE) * min(max(part, 0.0), 1.0)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round values, a few of them: as many as fit of the finest steps."""
        kinds = itertools.chain(((steps, 1) for steps in _STEPS), (((1,), every) for every in itertools.count(2)))
        return next(ticks for kind in kinds if len(ticks := tuple(self._round(*kind))) <= _TICKS_MOST)

    def _round(self, steps: Sequence[float], every: int) -> Iterator[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for power in range(first, last + 1):
            for step in steps if power % every == 0 else ():
                if self.low <= (value := float(f"{step}e{power}")) <= self.high:
                    yield value


def axis_of(marks: Iterable[Mark]) -> LogAxis:
    """An axis on which all of them are, and at least a factor of two long."""
    ends = [end for mark in marks for end in (mark.low, mark.high)]
    low, high = min(ends) / 1.1, max(ends) * 1.1
    stretch = max(1.0, math.sqrt(2 * low / high))
    return LogAxis(low / stretch, high * stretch)


def scale(axis: LogAxis, labels: Sequence[str]) -> Markup:
    """The axis with a label for each tick; hidden from screen readers, to whom each row says its numbers."""
    texts = (
        Markup('<text x="{:.2f}%" y="14">{}</text>').format(axis.place(tick), label)
        for tick, label in zip(axis.ticks, labels, strict=True)
    )
    return Markup('<svg class="scale" aria-hidden="true" width="100%" height="18">{}</svg>').format(_joined(texts))


def intervals(axis: LogAxis, marks: Sequence[Mark], name: str) -> Markup:
    """A row of a chart: each figure a mark on the line of its interval, one below the other."""
    height = _LANE * len(marks) + 2 * _FREE
    lanes = (
        Markup(
            '<line class="interval s{0}" x1="{1:.2f}%" x2="{2:.2f}%" y1="{4}" y2="{4}"/>'
            '<svg aria-hidden="true" x="{3:.2f}%" y="{4}" overflow="visible">'
            '<path class="mark s{0}" d="{5}"/></svg>'
        ).format(
            mark.series,
            axis.place(mark.low),
            axis.place(mark.high),
            axis.place(mark.value),
            _FREE + _LANE * n + _LANE // 2,
            SHAPES[mark.series % len(SHAPES)],
        )
        for n, mark in enumerate(marks)
    )
    return _row(_joined((_grid(axis, height), *lanes)), height, name)


def bar(value: float, low: float, high: float, most: float, name: str) -> Markup:
    """A bar from zero with the interval of its end, on a linear axis that ends at ``most``."""
    to, start, end = (100 * min(max(one / most, 0.0), 1.0) for one in (value, low, high))
    drawn = Markup(
        '<rect class="bar" x="0" y="4" width="{:.2f}%" height="14"/>'
        '<line class="whisker" x1="{:.2f}%" x2="{:.2f}%" y1="11" y2="11"/>'
    ).format(to, start, end)
    return _row(drawn, 22, name)


def legend_mark(series: int) -> Markup:
    """A series' mark, for the legend and beside its numbers."""
    return Markup(
        '<svg class="key" aria-hidden="true" width="12" height="12" viewBox="-6 -6 12 12">'
        '<path class="mark s{}" d="{}"/></svg>'
    ).format(series, SHAPES[series % len(SHAPES)])


def _grid(axis: LogAxis, height: int) -> Markup:
    lines = (
        Markup('<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="{1}"/>').format(axis.place(tick), height)
        for tick in axis.ticks
    )
    return _joined(lines)


def _row(drawn: Markup, height: int, name: str) -> Markup:
    return Markup('<svg class="track" role="img" width="100%" height="{}"><title>{}</title>{}</svg>').format(
        height, name, drawn
    )


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)
