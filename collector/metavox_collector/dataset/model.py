"""The one release model: all that any format of a dataset says; none of them works out anything anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from metavox_collector.dataset.code import Code
from metavox_collector.dataset.columns import Column, columns_of
from metavox_collector.dataset.statement import Statement, statement_of
from metavox_collector.estimate import Estimate, estimate_all
from metavox_collector.store import LabelledRelease
from metavox_privacy.budget import LedgerEntry
from metavox_privacy.fields import Metric, Purpose, Table
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

Value: TypeAlias = str | int | float | bool | list[int] | list[float] | None
Row: TypeAlias = Mapping[str, Value]

FIGURES = ("p50", "p75", "p90", "p95", "p99", "mean", "share")
"""What is estimated of a histogram; the last of a rate, the others of a quantity."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes a dataset, and is the controller of what it was made from.

    Attributes:
        name: Of the legal person.
        address: Its postal address.
        country: Where it is established, as ISO 3166 has it.
        email: Where it is written to.
        url: Its website.
        dpo: How its data protection officer is reached, if there is one.
    """

    name: str
    address: str
    country: str | None
    email: str
    url: str | None
    dpo: str | None


@dataclass(frozen=True, slots=True)
class DatasetTable:
    """One table, complete.

    Attributes:
        declared: What the schema says of it.
        released: What was drawn of it, with its scales and its threshold.
        columns: Its columns, in order.
        rows: Its rows, most contributors first, each with every column.
    """

    declared: Table
    released: ReleasedTable
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """The table's name, and its files' without the ending."""
        return self.declared.name

    @property
    def question(self) -> str:
        """Which question it answers."""
        return self.declared.reason


@dataclass(frozen=True, slots=True)
class Dataset:
    """One release, ready to be written in any format.

    Attributes:
        labelled: What was drawn, and whether its reports were simulated.
        statement: What the ledger says of it.
        history: The ledger, up to the last entry of the release's week or about it.
        schema: The declaration it was built from.
        tables: Its tables, in the schema's order.
        publisher: Who publishes it.
        issued: The day it is published.
        code: The software that made it.
    """

    labelled: LabelledRelease
    statement: Statement
    history: tuple[LedgerEntry, ...]
    schema: Schema
    tables: tuple[DatasetTable, ...]
    publisher: Publisher
    issued: date
    code: Code

    @property
    def release(self) -> Release:
        """What was drawn."""
        return self.labelled.release

    @property
    def week(self) -> Week:
        """The ISO week, the last one where several were released together."""
        return self.release.week

    @property
    def first_week(self) -> Week:
        """The first of the weeks that were released together."""
        return self.release.week.before(self.release.weeks - 1)

    @property
    def purpose(self) -> Purpose:
        """For whom it is."""
        return self.release.purpose

    @property
    def synthetic(self) -> bool:
        """Whether its reports were simulated; no format may leave that unsaid."""
        return self.labelled.synthetic

    @property
    def name(self) -> str:
        """A directory's name, which says when the figures are no measurements."""
        return f"metavox-{self.week}-{self.purpose}{'-synthetic' if self.synthetic else ''}"

    @property
    def version(self) -> str:
        """Semantic: the schema's version, the ISO week without its letter, and how often it was corrected."""
        corrections = sum(1 for entry in self.history if entry.reason and entry.release == self.statement.release)
        return f"{self.schema.version}.{self.week.year}{self.week.number:02d}.{corrections}"

    @property
    def title(self) -> str:
        """For a person."""
        weeks = f"week {self.week}" if self.release.weeks == 1 else f"weeks {self.first_week} to {self.week}"
        kind = "synthetic: not a measurement" if self.synthetic else "measured in people's hands"
        return f"MetaVox LLM inference performance, {weeks} ({kind})"

    def table(self, name: str) -> DatasetTable:
        """A table by its name."""
        return next(table for table in self.tables if table.name == name)


def dataset_of(
    labelled: LabelledRelease,
    history: Sequence[LedgerEntry],
    schema: Schema,
    *,
    publisher: Publisher,
    issued: date,
    code: Code,
) -> Dataset:
    """Estimate every figure of a release, once, and put it together with what the ledger says.

    Raises:
        LedgerBroken: if the ledger does not verify, or does not agree with the release.
    """
    release = labelled.release
    statement = statement_of(release, history)
    declared = {table.name: table for table in schema.in_scope(release.scope)}
    tables = tuple(_table(labelled, declared[released.name], released, schema) for released in release.tables)
    return Dataset(
        labelled, statement, _up_to(release, history, statement), schema, tables, publisher, issued, code
    )


def _up_to(release: Release, history: Sequence[LedgerEntry], statement: Statement) -> tuple[LedgerEntry, ...]:
    """No later than what the statement says, but for corrections of this very release."""
    about = [n for n, e in enumerate(history, 1) if e.hash == statement.head or e.release == release.sha256]
    return tuple(history[: max(about)])


def _table(labelled: LabelledRelease, table: Table, released: ReleasedTable, schema: Schema) -> DatasetTable:
    rows = tuple(_rows(labelled, table, released, schema))
    return DatasetTable(table, released, columns_of(table, schema), rows)


def _rows(labelled: LabelledRelease, table: Table, released: ReleasedTable, schema: Schema) -> Iterator[Row]:
    metrics = [schema.metric[name] for name in table.metrics]
    estimates = iter(estimate_all(_histograms(released, metrics)))
    for cell in released.cells:
        common: dict[str, Value] = {
            "week": str(labelled.release.week),
            **dict(zip(table.dimensions, cell.key, strict=True)),
            "contributors": cell.contributors,
            "synthetic": labelled.synthetic,
        }
        if not metrics:
            yield common
        for metric in metrics:
            yield {**common, **_measured(metric, cell, next(estimates))}


def _histograms(
    released: ReleasedTable, metrics: Sequence[Metric]
) -> Iterable[tuple[Metric, Sequence[int], float]]:
    for cell in released.cells:
        for metric in metrics:
            yield metric, cell.histograms[metric.name], released.histogram_scales[metric.name]


def _measured(metric: Metric, cell: ReleasedCell, estimate: Estimate) -> Row:
    return {
        "metric": metric.name,
        "unit": metric.unit,
        **figures_of(estimate),
        "signal_to_noise": _rounded(estimate.signal_to_noise),
        "histogram": [_rounded(share) for share in estimate.shares] or None,
        "noisy": list(cell.histograms[metric.name]),
    }


def figures_of(estimate: Estimate) -> Mapping[str, float | None]:
    """Every figure with the ends of its interval; None for what is hidden by noise, or no figure of this metric."""
    row: dict[str, float | None] = {}
    for name in FIGURES:
        figure = estimate.figures.get(name)
        row[name], row[f"{name}_low"], row[f"{name}_high"] = (
            (_rounded(figure.value), _rounded(figure.low), _rounded(figure.high))
            if figure is not None
            else (None, None, None)
        )
    return row


def _rounded(number: float) -> float:
    """To six significant digits: no noise leaves more, and the order of figures and their intervals stays."""
    return float(f"{number:.6g}")
