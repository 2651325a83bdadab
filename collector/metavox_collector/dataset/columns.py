"""The columns of every table of a dataset, declared once: Parquet and the data dictionary both derive from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metavox_collector.estimate import QUANTILES
from metavox_privacy.fields import Choice, Dimension, Table
from metavox_privacy.schema import Schema
from metavox_privacy.smoothing import RADIUS, SPREAD


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: In Parquet and SQL.
        type: ``string``, ``int64``, ``double``, ``bool``, ``list<int64>`` or ``list<double>``.
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
        "noisy number of installations that reported this cell; one counts once for each week",
    )
    synthetic = Column("synthetic", "bool", None, "true when the reports were simulated: not a measurement")
    measured = _measured(table, schema) if table.metrics else ()
    return (week, *keys, contributors, *measured, synthetic)


def _key(dimension: Dimension) -> Column:
    kind = "a public name" if isinstance(dimension.kind, Choice) else "a range"
    words = f"{kind}, from {dimension.attribute}: {dimension.reason}"
    return Column(dimension.name, "string", None, words, vocabulary=dimension.vocabulary)


def _measured(table: Table, schema: Schema) -> Iterator[Column]:
    yield Column("metric", "string", None, "which quantity the row describes", vocabulary=tuple(table.metrics))
    yield Column("unit", "string", None, "UCUM unit of the row's quantiles and mean")
    for name, q in QUANTILES.items():
        yield from _figure(name, "unit", f"the {q:.0%} quantile over contributions")
    yield from _figure("mean", "unit", "the mean of the buckets' geometric middles")
    yield from _figure("share", "1", "for a rate: the part of the requests, 0 to 1")
    yield Column(
        "signal_to_noise",
        "double",
        "1",
        "the histogram's estimated total over the standard deviation of noise on one bucket, were it not spread",
    )
    yield Column(
        "histogram",
        "list<double>",
        "1",
        "estimated part of the contributions in each bucket, of sum 1; empty where noise is all there is. Bucket "
        "i, counted from 0, ends at the metric's bucket_edges[i] and begins at the edge before; the first and the "
        "last are open. A rate has two: it was not so, it was so",
        nullable=True,
    )
    yield Column(
        "noisy",
        "list<int64>",
        "1",
        f"what was drawn, from which all else derives: {schema.units} units for a contributor of one cell, fewer "
        f"for one of several, each spread over {2 * RADIUS + 1} neighbouring buckets as {SPREAD} and given noise; "
        "may be negative. A rate's units are not spread",
    )


def _figure(name: str, unit: str, words: str) -> Iterator[Column]:
    yield Column(name, "double", unit, f"{words}; empty where noise hides it", nullable=True)
    for end, which in (("low", "lower"), ("high", "upper")):
        said = f"the {which} end of the 95 % interval of {name}, which accounts for the noise"
        yield Column(f"{name}_{end}", "double", unit, said, nullable=True)
