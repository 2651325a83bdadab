"""Files -> what they hold, read strictly: the raw release, the ledger, the parameters, the two reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from metavox_collector.proof import canonical, raw
from metavox_collector.proof.canonical import NotCanonical
from metavox_collector.proof.paths import ATTACKS, AUDIT, LEDGER, PARAMETERS, RELEASE
from metavox_collector.proof.problem import Problem
from metavox_privacy.budget import LedgerEntry
from metavox_privacy.release import Release, ReleasedTable
from metavox_privacy.schema import Schema

_T = TypeVar("_T")


class Unreadable(Exception):
    """What every further check needs cannot be read.

    Attributes:
        problems: Each file of which that is so.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True)
class Opened:
    """A pack that can be read. Nothing is said yet of whether it is right.

    Attributes:
        files: All of them, by path.
        schema: The declaration that this software has.
        release: The raw release.
        history: The ledger's entries.
        parameters: What the release was drawn with, as stated.
        audit: The audit's report.
        attacks: The attacks' report.
    """

    files: Mapping[str, bytes]
    schema: Schema
    release: Release
    history: tuple[LedgerEntry, ...]
    parameters: Mapping[str, Any]
    audit: Mapping[str, Any]
    attacks: Mapping[str, Any]


def opened(files: Mapping[str, bytes], schema: Schema) -> Opened:
    """Read what everything else is held against; raises Unreadable with all that cannot be read."""
    problems: list[Problem] = []

    def read(name: str, reader: Callable[[bytes], _T]) -> _T | None:
        if name not in files:
            problems.append(Problem(name, "it is missing, and nothing can be held against it"))
            return None
        try:
            return reader(files[name])
        except NotCanonical as error:
            problems.append(Problem(name, str(error)))
            return None

    release, history = read(RELEASE, raw.read_release), read(LEDGER, raw.read_ledger)
    parameters, audit, attacks = (read(name, _object) for name in (PARAMETERS, AUDIT, ATTACKS))
    if release is None or history is None or parameters is None or audit is None or attacks is None:
        raise Unreadable(problems)
    return Opened(files, schema, _in_order(release, schema), history, parameters, audit, attacks)


def _in_order(release: Release, schema: Schema) -> Release:
    """The same release with its metrics in the schema's order, in which the documents were made."""
    declared = {table.name: tuple(table.metrics) for table in schema.in_scope(release.scope)}
    tables = tuple(_sorted(table, declared.get(table.name, ())) for table in release.tables)
    return replace(release, tables=tables)


def _sorted(table: ReleasedTable, metrics: Sequence[str]) -> ReleasedTable:
    def by_metric(values: Mapping[str, _T]) -> dict[str, _T]:
        known = {name: values[name] for name in metrics if name in values}
        return {**known, **values}

    cells = tuple(replace(cell, histograms=by_metric(cell.histograms)) for cell in table.cells)
    return replace(table, histogram_scales=by_metric(table.histogram_scales), cells=cells)


def _object(content: bytes) -> Mapping[str, Any]:
    value = canonical.read_legible(content)
    if not isinstance(value, dict):
        raise NotCanonical("it is no JSON object")
    return value
