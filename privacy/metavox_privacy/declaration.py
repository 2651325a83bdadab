"""All that may leave, as plain JSON data, and the exact difference between two such declarations.

A receipt holds the declaration that was agreed to, so that a later release can show what has changed since.
Whatever changes the schema's fingerprint, with which a yes pauses, shows here in at least one line.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from metavox_privacy.fields import Dimension, Metric, Table
from metavox_privacy.notice import QUESTIONS, Language, notice
from metavox_privacy.schema import Schema

Declaration: TypeAlias = dict[str, Any]

_NAMED: Final = {
    "fields": "field",
    "metrics": "metric",
    "tables": "table",
    "coarse_tables": "table for a small fleet",
}
_SINGULAR: Final = {
    "words": "word",
    "edges": "edge",
    "purposes": "purpose",
    "dimensions": "field",
    "metrics": "metric",
}
_NUMBERS: Final = {
    "schema_version": "version of the list",
    "cells_per_report": "combinations in a report",
    "units": "units of a histogram",
}
_FEW = 12


def declaration(schema: Schema) -> Declaration:
    """The whole schema as JSON data, its fields, metrics and tables by name."""
    return {
        "schema_version": schema.version,
        "cells_per_report": schema.cells_per_report,
        "units": schema.units,
        "fields": {dimension.name: _plain(dimension) for dimension in schema.dimensions},
        "metrics": {metric.name: _plain(metric) for metric in schema.metrics},
        "tables": {table.name: _plain(table) for table in schema.tables},
        "coarse_tables": {table.name: _plain(table) for table in schema.coarse_tables},
    }


def terms(schema: Schema, language: Language) -> Declaration:
    """The declaration with the words that are shown: each paragraph of the notice, and each question, an item."""
    paragraphs = [line.replace("\t", ": ") for line in notice(schema, language).splitlines()]
    return {**declaration(schema), "notice": [*paragraphs, *QUESTIONS[language].values()]}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What changed between two declarations, or between two terms, in lines; [] when they say the same.

    A line begins with ``+`` for what is new, ``-`` for what is gone, ``~`` for what is another. A paragraph of the
    notice that has changed is there twice, as it was and as it is.
    """
    return [line for key in _keys(before, after) for line in _of(key, before.get(key), after.get(key))]


def _plain(field: Dimension | Metric | Table) -> dict[str, Any]:
    """A field as JSON data: what may leave, which is its words or its edges, and all that is declared of it."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(field), default=str))
    del found["name"]
    if isinstance(field, Dimension):
        kind = found.pop("kind")
        kind.pop("names", None)  # among the words
        found |= {"words": list(field.vocabulary), **kind}
    return found


def _of(key: str, before: Any, after: Any) -> Iterator[str]:
    if before == after and _order(before) == _order(after):
        return
    if key in _NAMED:
        yield from _of_named(_NAMED[key], before or {}, after or {})
    elif key == "notice":
        yield from (line for line in difflib.ndiff(before or [], after or []) if line[:2] in ("+ ", "- "))
    else:
        yield f"~ {_NUMBERS.get(key, key)}: {before} -> {after}"


def _of_named(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in _keys(before, after):
        if name not in before:
            yield f"+ {kind} {name}: {after[name].get('reason')}"
        elif name not in after:
            yield f"- {kind} {name}"
        else:
            yield from _of_parts(f"{kind} {name}", before[name], after[name])
    if before.keys() == after.keys() and _order(before) != _order(after):
        yield f"~ the order of the {kind}s"


def _of_parts(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for part in _keys(before, after):
        old, new = before.get(part), after.get(part)
        if old == new:
            continue
        if part == "aliases":
            yield from _of_aliases(name, old or {}, new or {})
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from _of_shares(name, _SINGULAR.get(part, part), old, new)
        elif isinstance(old, list) and isinstance(new, list):
            yield from _of_list(name, part, old, new)
        else:
            yield f"~ {name}: {part} {old} -> {new}"


def _of_aliases(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """Which spellings of a machine's own count as which word."""
    for spelling in _keys(before, after):
        old, new = before.get(spelling), after.get(spelling)
        if old != new and old is not None:
            yield f"- {name}: '{spelling}' counted as '{old}'"
        if old != new and new is not None:
            yield f"+ {name}: '{spelling}' counts as '{new}'"


def _of_shares(name: str, one: str, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    """Which metrics a table has, and how much of a release's budget goes to each."""
    for metric in _keys(before, after):
        old, new = before.get(metric), after.get(metric)
        if old is None:
            yield f"+ {name}: {one} '{metric}', {new} thousandths of the budget"
        elif new is None:
            yield f"- {name}: {one} '{metric}'"
        elif old != new:
            yield f"~ {name}: {one} '{metric}' {old} -> {new} thousandths of the budget"


def _of_list(name: str, part: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    gone, new = _without(before, after), _without(after, before)
    one = _SINGULAR.get(part, part)
    if part == "edges" and len(gone) + len(new) > _FEW:
        yield f"~ {name}: {_buckets(before)} -> {_buckets(after)}"
        return
    yield from (f"- {name}: {one} '{item}'" for item in gone)
    yield from (f"+ {name}: {one} '{item}'" for item in new)
    if not gone and not new:
        yield f"~ {name}: the order of its {part}"


def _buckets(edges: Sequence[float]) -> str:
    if not edges:
        return "2 buckets, absent and present"
    return f"{len(edges) + 1} buckets with edges from {edges[0]:g} to {edges[-1]:g}"


def _without(some: Iterable[Any], others: Sequence[Any]) -> list[Any]:
    return [item for item in some if item not in others]


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys((*before, *after)))


def _order(declared: Any) -> list[str]:
    return list(declared) if isinstance(declared, Mapping) else []
