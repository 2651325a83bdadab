"""The datasheet, after Gebru et al. 2021 (doi:10.1145/3458723): its seven sections, with the figures of this "
"release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metavox_collector.dataset import paths, words
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.emit.render import render
from metavox_collector.dataset.facts import costs, period
from metavox_collector.dataset.licences import CHOICE, LICENCES
from metavox_collector.dataset.model import Dataset


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """One metric as the datasheet lists it.

    Attributes:
        name: The metric.
        unit: UCUM unit.
        reason: What it tells.
        buckets: How many its histogram has.
        rows: Cells that it was estimated for.
        given: How many of those have a median, or a share.
        scale: Standard deviation of the noise on each number of its histogram.
    """

    name: str
    unit: str
    reason: str
    buckets: int
    rows: int
    given: int
    scale: float


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write the datasheet; raises NotAllowed for a release that was not made to be published."""
    offered(dataset)
    text = render(
        "datasheet.md.j2",
        dataset=dataset,
        publisher=dataset.publisher,
        words=words,
        paths=paths,
        performance=dataset.table("performance"),
        metrics=tuple(_metrics(dataset)),
        period=period(dataset.week, dataset.release.weeks),
        coverage=words.coverage(dataset),
        thresholds=words.thresholds(dataset),
        limitations=list(words.limitations(dataset))[2:],
        personal=words.personal(dataset),
        collection=words.collection(dataset),
        impact=words.IMPACT,
        preprocessing=words.preprocessing(dataset),
        uses=words.uses(),
        biases=words.biases(dataset),
        misuses=words.misuses(),
        maintenance=words.maintenance(dataset),
        price=words.price(dataset),
        costs=costs(dataset.statement),
        corrections=[e.reason for e in dataset.history if e.reason and e.release == dataset.statement.release],
        licences=LICENCES,
        choice=CHOICE,
    )
    return {paths.DATASHEET: text.encode()}


def _metrics(dataset: Dataset) -> Iterator[MetricFacts]:
    for table in dataset.tables:
        for name in table.declared.metrics:
            metric = dataset.schema.metric[name]
            rows = [row for row in table.rows if row["metric"] == name]
            figure = "share" if metric.is_rate else "p50"
            yield MetricFacts(
                name=name,
                unit=metric.unit,
                reason=metric.reason,
                buckets=metric.buckets,
                rows=len(rows),
                given=sum(row[figure] is not None for row in rows),
                scale=table.released.histogram_scales[name],
            )
