"""The columns of every table of a dataset, declared once: Parquet and the data dictionary both derive from here."""

from __future__ import annotations

from dataclasses import dataclass

from metavox_privacy.fields import Choice, Dimension, Table
from metavox_privacy.schema import Schema

QUANTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99}
LEAST_SIGNAL = {"p50": 6, "p75": 8, "p90": 10, "p95": 12, "p99": 24, "mean": 8, "share": 20}
"""The signal-to-noise from which a figure is given: in nineteen cells of twenty it is then within a third of the
truth (``make bench``). Noise alone reaches 4 once in a hundred histograms. A share's standard error is then at most
3.5 percentage points.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: In Parquet and SQL.
        type: ``string``, ``int64``, ``double``, ``bool`` or ``list<int64>``.
        unit: UCUM unit; None when it has none, ``"unit"`` when the row's column of that name says it.
        description: What it holds.
        nullable: Whether a row may leave it empty.
        vocabulary: Every value that can occur, for a dimension.
    """

    name: str
    type: str
    unit: str | None
    description: str
    nullable: bool = False
    vocabulary: tuple[str, ...] = ()


def columns_of(table: Table, schema: Schema) -> tuple[Column, ...]:
    """A table's columns, in order. A table with metrics is in long form: one row a cell and metric."""
    week = Column("week", "string", None, "the ISO 8601 week, UTC, in which the requests ended")
    keys = (_key(schema.dimension[name]) for name in table.dimensions)
    contributors = Column(
        "contributors",
        "int64",
        "1",
        "noisy number of installations that reported this cell; one counts once a week",
    )
    synthetic = Column("synthetic", "bool", None, "true when the reports were simulated: not a measurement")
    measured = _measured(table, schema) if table.metrics else ()
    return (week, *keys, contributors, *measured, synthetic)


def _key(dimension: Dimension) -> Column:
    kind = "a public name" if isinstance(dimension.kind, Choice) else "a range"
    words = f"{kind}, from {dimension.attribute}: {dimension.reason}"
    return Column(dimension.name, "string", None, words, vocabulary=dimension.vocabulary)


def _measured(table: Table, schema: Schema) -> tuple[Column, ...]:
    quantiles = (
        _figure(name, "unit", f"the {q:.0%} quantile over installations, each weighing the same")
        for name, q in QUANTILES.items()
    )
    return (
        Column("metric", "string", None, "which quantity the row describes", vocabulary=table.metrics),
        Column("unit", "string", None, "UCUM unit of the row's quantiles and mean"),
        *quantiles,
        _figure("mean", "unit", "the mean of the buckets' geometric middles"),
        _figure("share", "1", "for a rate: the part of the requests, 0 to 1"),
        Column("signal_to_noise", "double", "1", "units of the histogram over the noise on their sum"),
        Column(
            "histogram",
            "list<int64>",
            "1",
            f"noisy units by bucket, {schema.units} for each contributor before the noise; may be negative. Bucket "
            "i, counted from 0, ends at the metric's bucket_edges[i] and begins at the edge before; the first and "
            "the last are open. A rate has two: it was not so, it was so",
        ),
    )


def _figure(name: str, unit: str, words: str) -> Column:
    return Column(name, "double", unit, f"{words}; given from a signal_to_noise of {LEAST_SIGNAL[name]} on", True)
