"""What the release browser shows of the tables: two charts of speed, the cells, and the shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

from metavox_collector.dataset.emit import tracks
from metavox_collector.dataset.emit.tracks import Mark
from metavox_collector.dataset.model import Dataset, DatasetTable, Row

CHART_ROWS = 14
"""Most rows of a chart; the most common combinations."""
BARS = 12
MOST_CELLS = 300
"""Most rows of the table of cells: a page of a megabyte opens on a phone, one of ten does not."""

_SERIES = "concurrency"
_Z95 = 1.96


class _Words(Protocol):
    """A value in words; one that is exact, such as an axis' tick, with no more digits than it needs."""

    def __call__(self, value: float, *, exact: bool = False) -> str: ...


@dataclass(frozen=True, slots=True)
class Series:
    """One of a chart's series: how it is drawn and what it is called."""

    mark: Markup
    name: str


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One row: what it is of, its drawing, and each figure in words beside its mark."""

    label: tuple[str, ...]
    drawing: Markup
    values: tuple[tuple[Markup, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        dimensions: What the rows' labels are.
        series: What the marks are; empty if there is one series only.
        scale: The axis with its labels.
        rows: Its rows, the best first.
        left_out: How many more combinations have such a figure.
    """

    dimensions: tuple[str, ...]
    series: tuple[Series, ...]
    scale: Markup
    rows: tuple[ChartRow, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of the table of cells: in words, its interval in words, and as a number to sort by."""

    value: str
    interval: str
    number: str


@dataclass(frozen=True, slots=True)
class Cells:
    """The table of cells: the key's columns, the figures', the rows, and how many cells there are in all."""

    dimensions: tuple[str, ...]
    figures: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], int, tuple[Cell, ...]], ...]
    total: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A published cell of a table of counts."""

    label: tuple[str, ...]
    drawing: Markup
    words: str


@dataclass(frozen=True, slots=True)
class Shares:
    """A table of counts, as bars, the largest first."""

    table: DatasetTable
    bars: tuple[Bar, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class _Shown:
    """A figure of the table of cells: of which metric, under which name, by which unit."""

    metric: str
    figure: str
    name: str
    words: _Words
    inverse: bool = False

    def of(self, row: Row | None) -> Cell:
        found = None if row is None else _interval(row, self.figure, inverse=self.inverse)
        if found is None:
            return Cell("–", "hidden by noise", "")
        low, value, high = found
        return Cell(self.words(value), between(self.words(low), self.words(high)), f"{value:.6g}")


def speed(dataset: Dataset) -> Chart | None:
    """Tokens per second of one request's answer: one over the median time per output token."""
    return _chart(dataset, "time_per_output_token", number, inverse=True)


def waiting(dataset: Dataset) -> Chart | None:
    """The median time to the first token."""
    return _chart(dataset, "time_to_first_token", seconds, inverse=False)


def cells(dataset: Dataset) -> Cells:
    """Every published cell of the table of figures, one a row, the most common first."""
    table = dataset.table("performance")
    shown = [one for one in _FIGURES if one.metric in table.declared.metrics]
    by_cell = _by_cell(table)
    rows = tuple(
        (cell.key, cell.contributors, tuple(one.of(by_cell[cell.key].get(one.metric)) for one in shown))
        for cell in table.released.cells[:MOST_CELLS]
    )
    names = tuple(one.name for one in shown)
    return Cells(table.released.dimensions, names, rows, len(table.released.cells))


def shares(dataset: Dataset) -> tuple[Shares, ...]:
    """Every table of counts."""
    return tuple(_shares(table) for table in dataset.tables if not table.declared.metrics)


def number(value: float, *, exact: bool = False) -> str:
    """Three significant digits, without exponents; of an exact value only those that it needs."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}" if exact else f"{value:#.3g}"


def seconds(value: float, *, exact: bool = False) -> str:
    """Seconds, or milliseconds below one."""
    few = value < 0.9995
    return f"{number(value * 1000, exact=exact)} ms" if few else f"{number(value, exact=exact)} s"


def gibibytes(value: float, *, exact: bool = False) -> str:
    """Bytes as GiB."""
    return f"{number(value / 2**30, exact=exact)} GiB"


def percent(value: float, *, exact: bool = False) -> str:
    """A share as percent, to a tenth."""
    if exact:
        return f"{100 * value:g} %"
    return f"{100 * value:.1f} %"


def between(low: str, high: str) -> str:
    """An interval whose unit is said once, if it is the same."""
    start, _, unit = low.partition(" ")
    return f"{start if high.endswith(f' {unit}') else low} to {high}"


_FIGURES = (
    _Shown("time_per_output_token", "p50", "tokens per second", number, inverse=True),
    _Shown("time_to_first_token", "p50", "first token, median", seconds),
    _Shown("time_to_first_token", "p90", "first token, 90 %", seconds),
    _Shown("peak_device_memory", "p50", "peak memory", gibibytes),
    _Shown("error_rate", "share", "failed requests", percent),
)


def _chart(dataset: Dataset, metric: str, words: _Words, *, inverse: bool) -> Chart | None:
    """The most common combinations with all that the last dimension splits them into; None without a figure."""
    table = dataset.table("performance")
    dimensions = tuple(name for name in table.released.dimensions if name != _SERIES)
    split = len(dimensions) < len(table.released.dimensions)
    groups: dict[tuple[str, ...], dict[str, tuple[float, float, float]]] = {}
    for row in table.rows:  # the most contributors first
        found = _interval(row, "p50", inverse=inverse) if row["metric"] == metric else None
        if found is not None:
            key = tuple(str(row[name]) for name in dimensions)
            groups.setdefault(key, {})[str(row[_SERIES]) if split else ""] = found
    if not groups:
        return None
    chosen = dict(list(groups.items())[:CHART_ROWS])
    named = _ordered({name for found in chosen.values() for name in found}, dataset)
    marks = {
        key: [Mark(named.index(name), *found[name]) for name in named if name in found]
        for key, found in chosen.items()
    }
    axis = tracks.axis_of(mark for row in marks.values() for mark in row)
    best = sorted(marks, key=lambda key: (marks[key][0].value, key), reverse=inverse)
    rows = tuple(_chart_row(key, marks[key], axis, words, named) for key in best)
    series = tuple(Series(tracks.legend_mark(n), name) for n, name in enumerate(named)) if split else ()
    scale = tracks.scale(axis, [words(tick, exact=True) for tick in axis.ticks])
    return Chart(dimensions, series, scale, rows, len(groups) - len(chosen))


def _chart_row(
    key: tuple[str, ...], marks: list[Mark], axis: tracks.LogAxis, words: _Words, named: list[str]
) -> ChartRow:
    said = [f"{words(mark.value)} ({between(words(mark.low), words(mark.high))})" for mark in marks]
    names = [f"{_SERIES} {named[mark.series]}: " if named[mark.series] else "" for mark in marks]
    name = f"{' · '.join(key)}; {'; '.join(map(str.__add__, names, said))}"
    keys = (tracks.legend_mark(mark.series) for mark in marks)
    return ChartRow(key, tracks.intervals(axis, marks, name), tuple(zip(keys, said, strict=True)))


def _ordered(found: Iterable[str], dataset: Dataset) -> list[str]:
    """As the schema has them."""
    vocabulary = dataset.schema.dimension[_SERIES].vocabulary
    return sorted(found, key=lambda name: vocabulary.index(name) if name in vocabulary else -1)


def _interval(row: Row, figure: str, *, inverse: bool) -> tuple[float, float, float] | None:
    """A figure between the ends of its interval; None where noise hides it, or it has no inverse."""
    ends = [row[f"{figure}_low"], row[figure], row[f"{figure}_high"]]
    if not all(isinstance(end, float) for end in ends):
        return None
    low, value, high = (float(str(end)) for end in ends)
    return (1 / high, 1 / value, 1 / low) if inverse else (low, value, high)


def _by_cell(table: DatasetTable) -> Mapping[tuple[str, ...], Mapping[str, Row]]:
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in table.rows:
        key = tuple(str(row[name]) for name in table.released.dimensions)
        found.setdefault(key, {})[str(row["metric"])] = row
    return found


def _shares(table: DatasetTable) -> Shares:
    released = table.released
    error = _Z95 * released.count_scale
    total = sum(cell.contributors for cell in released.cells)
    most = max((cell.contributors + error for cell in released.cells), default=1.0)
    bars = tuple(_bars(table, total, error, most))
    return Shares(table, bars, len(released.cells) - len(bars))


def _bars(table: DatasetTable, total: int, error: float, most: float) -> Iterator[Bar]:
    for cell in table.released.cells[:BARS]:
        said = f"{cell.contributors:,} ± {error:,.0f} ({percent(cell.contributors / total)})"
        name = f"{' · '.join(cell.key)}: {said}"
        drawing = tracks.bar(cell.contributors, cell.contributors - error, cell.contributors + error, most, name)
        yield Bar(cell.key, drawing, said)
