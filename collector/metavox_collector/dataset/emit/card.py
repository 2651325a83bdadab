"""The pack's README: a Hugging Face dataset card, YAML for the hub in front and Markdown for a person after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from metavox_collector.dataset import paths, words
from metavox_collector.dataset.citation import citation
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.emit.render import render
from metavox_collector.dataset.facts import DELTA, costs, privacy_unit
from metavox_collector.dataset.licences import CHOICE, COMMUNITY, LICENCES
from metavox_collector.dataset.model import Dataset, DatasetTable, Row

HEADLINE_CELLS = 10
HEADLINE_METRICS = ("time_to_first_token", "time_per_output_token", "peak_device_memory")

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class HeadlineRow:
    """One cell of the card's first table, its figures written out."""

    key: tuple[str, ...]
    contributors: int
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Headline:
    """The card's first table: medians of the most common cells."""

    dimensions: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[HeadlineRow, ...]


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write the card; raises NotAllowed for a release that was not made to be published."""
    offered(dataset)
    front = yaml.safe_dump(front_matter(dataset), sort_keys=False, allow_unicode=True, width=110)
    return {paths.CARD: f"---\n{front}---\n\n{_body(dataset)}".encode()}


def front_matter(dataset: Dataset) -> dict[str, Any]:
    """What the hub reads, in its own names."""
    rows = sum(len(table.rows) for table in dataset.tables)
    return {
        "pretty_name": dataset.title,
        "license": COMMUNITY.identifier.lower(),
        "language": ["en"],
        "annotations_creators": ["no-annotation"],
        "source_datasets": ["original"],
        "task_categories": ["tabular-regression"],
        "size_categories": [next((name for most, name in _SIZES if rows < most), "1M<n<10M")],
        "tags": [
            *(
                "llm-inference",
                "benchmark",
                "performance",
                "hardware",
                "differential-privacy",
                "telemetry",
                "croissant",
            ),
            *(["synthetic"] if dataset.synthetic else []),
        ],
        "configs": [
            {"config_name": table.name, "data_files": paths.parquet_path(table.name), **_default(table)}
            for table in dataset.tables
        ],
    }


def _default(table: DatasetTable) -> dict[str, bool]:
    return {"default": True} if table.declared.metrics else {}


def _body(dataset: Dataset) -> str:
    dimensions = dataset.table("performance").released.dimensions
    return render(
        "card.md.j2",
        dataset=dataset,
        words=words,
        paths=paths,
        summary=words.summary(dataset).removeprefix(f"{words.SYNTHETIC} "),
        coverage=words.coverage(dataset),
        price=words.price(dataset),
        unit=privacy_unit(dataset.release.weeks),
        costs=costs(dataset.statement),
        purposes=" and ".join(f"'{purpose}'" for purpose in dataset.statement.week),
        delta=DELTA,
        dimensions=dimensions,
        quoted_dimensions=", ".join(f'"{name}"' for name in dimensions),
        headline=_headline(dataset.table("performance")),
        caveats=(*words.biases(dataset), *list(words.limitations(dataset))[1:]),
        uses=words.uses(),
        misuses=words.misuses(),
        licences=LICENCES,
        choice=CHOICE,
        citation=citation(dataset),
    )


def _headline(table: DatasetTable) -> Headline | None:
    metrics = tuple(name for name in HEADLINE_METRICS if name in table.declared.metrics)
    rows = tuple(_headline_rows(table, metrics))
    return Headline(table.released.dimensions, metrics, rows) if rows else None


def _headline_rows(table: DatasetTable, metrics: tuple[str, ...]) -> Iterator[HeadlineRow]:
    by_cell: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in table.rows:
        key = tuple(str(row[name]) for name in table.released.dimensions)
        by_cell.setdefault(key, {})[str(row["metric"])] = row
    for cell in table.released.cells[:HEADLINE_CELLS]:
        figures = tuple(_median(by_cell[cell.key][name]) for name in metrics)
        yield HeadlineRow(tuple(word.replace("<", "\\<") for word in cell.key), cell.contributors, figures)


def _median(row: Row) -> str:
    if row["p50"] is None:
        return "–"
    scale, unit = _readable(str(row["unit"]))
    value, low, high = (float(str(row[name])) / scale for name in ("p50", "p50_low", "p50_high"))
    return f"{value:.3g} {unit} ({low:.3g} to {high:.3g})"


def _readable(unit: str) -> tuple[float, str]:
    return {"s": (1e-3, "ms"), "By": (2.0**30, "GiB")}.get(unit, (1.0, unit))
