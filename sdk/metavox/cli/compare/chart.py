"""A released distribution as a picture of characters, with this machine's own times below it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from metavox.telemetry.compare.standing import Standing, ends_of, share_above

LEAST_WIDTH = 28
"""Columns below which a picture says nothing."""

_MOST_WIDTH = 76
_STEPS = ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))
_LEAST_RATIO = 4.0  # of the axis's two ends, so that a single bucket is not as wide as the picture


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a picture is drawn with.

    Attributes:
        levels: From nothing to a full character.
        rows: Lines of characters that the highest column takes.
        line, tick: The axis.
        middle, slow: Where our median is, and our 90th percentile.
    """

    levels: str
    rows: int
    line: str
    tick: str
    middle: str
    slow: str


BLOCKS = Glyphs(" ▁▂▃▄▅▆▇█", 4, "─", "┴", "▲", "△")
ASCII = Glyphs(" .:#", 6, "-", "+", "^", "'")


@dataclass(frozen=True, slots=True)
class Axis:
    """Seconds in log space over so many columns."""

    low: float
    high: float
    width: int

    def edge(self, column: int) -> float:
        """Where a column begins, in seconds."""
        return self.low * math.exp(math.log(self.high / self.low) * column / self.width)

    def column(self, seconds: float) -> int:
        """The column of a value; what lies outside goes to the nearest one."""
        if seconds <= self.low:
            return 0
        return min(int(self.width * math.log(seconds / self.low) / math.log(self.high / self.low)), self.width - 1)


def chart(standing: Standing, columns: int, glyphs: Glyphs) -> list[str]:
    """Lines of at most ``columns`` characters; none where there is no room for a picture."""
    width = min(columns, _MOST_WIDTH)
    if width < LEAST_WIDTH:
        return []
    axis = _axis(standing, width)
    above = [share_above(standing.theirs.histogram, standing.edges, axis.edge(at)) for at in range(width + 1)]
    parts = [high - low for high, low in itertools.pairwise(above)]
    lines = [*_bars(parts, glyphs), *_scale(axis, glyphs)]
    lines.append(_marker(axis.column(standing.own.p50), f"{glyphs.middle} your p50", width))
    lines.append(_marker(axis.column(standing.own.p90), f"{glyphs.slow} your p90", width))
    return [line.rstrip() for line in lines]


def duration(seconds: float) -> str:
    """A time for a person, with about three digits."""
    value, unit = (seconds, "s") if seconds >= 0.9995 else (1000 * seconds, "ms")
    return (
        f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}" if value >= 10 else f"{value:.2f} {unit}"
    )


def _axis(standing: Standing, width: int) -> Axis:
    """From the first to the last bucket that holds anything, and to our own times where they lie outside."""
    pairs = zip(standing.theirs.histogram, ends_of(standing.edges), strict=True)
    held = [ends for units, ends in pairs if units]
    own = [max(value, 1e-9) for value in (standing.own.p50, standing.own.p90)]
    low, high = min(held[0][0], *own), max(held[-1][1], *own)
    room = math.sqrt(max(_LEAST_RATIO * low / high, 1.0))
    return Axis(low / room, high * room, width)


def _bars(parts: Sequence[float], glyphs: Glyphs) -> list[str]:
    full = len(glyphs.levels) - 1
    highest = max(parts)
    heights = [math.ceil(part / highest * full * glyphs.rows - 1e-9) for part in parts]
    return [
        "".join(glyphs.levels[min(max(height - row * full, 0), full)] for height in heights)
        for row in reversed(range(glyphs.rows))
    ]


def _scale(axis: Axis, glyphs: Glyphs) -> list[str]:
    """The axis with round times, as many as there is room for."""
    line, labels, free = [glyphs.line] * axis.width, [" "] * axis.width, 0
    for seconds in _round_times(axis.low, axis.high):
        label, at = _label(seconds), axis.column(seconds)
        start = min(max(at - len(label) // 2, 0), axis.width - len(label))
        if start >= free:
            line[at] = glyphs.tick
            labels[start : start + len(label)] = label
            free = start + len(label) + 2
    return ["".join(line), "".join(labels)]


def _label(seconds: float) -> str:
    value, unit = (seconds, "s") if seconds >= 1 else (1000 * seconds, "ms")
    return f"{value:.6g} {unit}"


def _round_times(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ratio = high / low
    steps = _STEPS[2] if ratio < 20 else _STEPS[1] if ratio < 2000 else _STEPS[0]
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def _marker(at: int, words: str, width: int) -> str:
    """Words with their sign at a column: to its right, or to its left where they would not fit."""
    if at + len(words) <= width:
        return " " * at + words
    sign, rest = words[0], words[2:]
    return " " * (at - len(rest) - 1) + f"{rest} {sign}"
