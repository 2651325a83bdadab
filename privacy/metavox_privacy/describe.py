"""The schema in words: the Markdown tables of PRIVACY.md and the docs, and each field's sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from metavox_privacy.fields import Dimension, Metric
from metavox_privacy.schema import Schema

_FEW = 14


def markdown(schema: Schema) -> str:
    """Everything: dimensions, metrics, tables."""
    return "\n\n".join((dimensions_table(schema), metrics_table(schema), tables_table(schema)))


def dimensions_table(schema: Schema) -> str:
    """One row for each dimension."""
    head = (
        "Field",
        "OpenTelemetry attribute",
        "Values",
        "Why it is needed",
        "Purposes",
        "Sensitivity",
        "Expires",
    )
    rows = (
        (
            f"`{d.name}`",
            f"`{d.attribute}`",
            values_in_words(d),
            d.reason,
            ", ".join(d.purposes),
            d.sensitivity,
            str(d.expires),
        )
        for d in schema.dimensions
    )
    return _table(head, rows)


def metrics_table(schema: Schema) -> str:
    """One row for each metric."""
    head = (
        *("Metric", "OpenTelemetry attribute", "Unit", "Buckets", "Why it is needed"),
        *("Purposes", "Sensitivity", "Expires"),
    )
    rows = (
        (
            *(f"`{m.name}`", f"`{m.attribute}`", f"`{m.unit}`", buckets_in_words(m), m.reason),
            *(", ".join(m.purposes), m.sensitivity, str(m.expires)),
        )
        for m in schema.metrics
    )
    return _table(head, rows)


def tables_table(schema: Schema) -> str:
    """One row for each released table."""
    head = ("Table", "Key", "Metrics", "Share of ρ", "Question")
    rows = (
        (
            f"`{t.name}`",
            ", ".join(f"`{name}`" for name in t.dimensions),
            str(len(t.metrics)) if t.metrics else "contributors only",
            f"{t.permille / 10:g} %",
            t.reason,
        )
        for t in schema.tables
    )
    return _table(head, rows)


def values_in_words(dimension: Dimension) -> str:
    """The vocabulary, whole when it is short, else its size and a few examples."""
    words = dimension.vocabulary
    if len(words) <= _FEW:
        return ", ".join(words)
    return f"one of {len(words)} public names, such as {', '.join(words[:3])}; else other or unknown"


def buckets_in_words(metric: Metric) -> str:
    """How a metric's values are reduced."""
    if metric.is_rate:
        return "2: it worked, it failed"
    return f"{metric.buckets}, log-spaced from {metric.edges[0]:g} to {metric.edges[-1]:g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
