"""The two neighbouring worlds of a game: a fleet of reports, and the same with one installation more.

The schema is the shipped one with few words, few buckets and keys of one dimension, so that thousands of releases
can be drawn; K, units, the kernel, the tables, their metrics and the code are those that are shipped. Each number
has noise of its own, so nothing that a game measures depends on how many keys or buckets there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from metavox_privacy import report
from metavox_privacy.anonymize import CellKey
from metavox_privacy.cells import Cell
from metavox_privacy.fields import PURPOSES, Choice, Scope, Table
from metavox_privacy.report import CellCounts, Counts, Report
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

Tables: TypeAlias = Mapping[str, Mapping[CellKey, Cell]]
Fold: TypeAlias = Callable[[Iterable[Report], Schema, Sequence[Table]], Tables]
Attack: TypeAlias = Literal["parts", "whole", "published", "noise", "control"]

WEEK = Week(2026, 47)
"""The last week of every game's period; which one it is has no influence."""

_LIMITS = 3
"""A table of counts has keys for so many times K cells: room for an installation whose cells nobody limits."""

REQUESTS = 1_000_000
"""What the target asks of its engine in each cell: an installation may be as busy as it likes."""

_SHARES = 1000


@dataclass(frozen=True, slots=True)
class Scene:
    """What a game is played on.

    Attributes:
        attack: What is looked at: each part of a release, all of it together, which cells are published, or whether
            noise is new in each release, and in each cell.
        schema: The small schema.
        scope: Which of its tables are released.
        weeks: How many weeks are released together, in every one of which the target is.
        nano_rho: What a release costs.
    """

    attack: Attack
    schema: Schema
    scope: Scope
    weeks: int
    nano_rho: int

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that are released."""
        return self.schema.in_scope(self.scope)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of any dimension; each is a key of every table."""
        return self.schema.dimensions[0].vocabulary


def whole(schema: Schema, scope: Scope, weeks: int, nano_rho: int) -> Scene:
    """The release as it is shipped, its budget shared out as the schema says."""
    return Scene("whole", small(schema, schema.cells_per_report + 1), scope, weeks, nano_rho)


def parts(schema: Schema, scope: Scope, weeks: int, nano_rho: int, tables: int | None = None) -> Scene:
    """A release, of the first tables only if so wished, whose every draw costs ``nano_rho``: all are as visible."""
    cut = small(schema, schema.cells_per_report + 1)
    released = cut.in_scope(scope)[:tables]
    share = _SHARES // sum(1 + len(table.metrics) for table in released)
    even = tuple(
        replace(table, count_permille=share, metrics=dict.fromkeys(table.metrics, share)) for table in released
    )
    return Scene("parts", replace(cut, tables=even, coarse_tables=even), scope, weeks, nano_rho * _SHARES // share)


def counts(attack: Attack, schema: Schema, scope: Scope, weeks: int, nano_rho: int) -> Scene:
    """A release of nothing but the contributors of the first table."""
    cut = small(schema, _LIMITS * schema.cells_per_report)
    first = replace(cut.in_scope(scope)[0], count_permille=_SHARES, metrics={})
    return Scene(attack, replace(cut, tables=(first,), coarse_tables=(first,)), scope, weeks, nano_rho)


def small(schema: Schema, keys: int) -> Schema:
    """The schema with few words and buckets, and with keys of one dimension, of which there are so many."""
    words = Choice(tuple(f"word {number}" for number in range(keys - 2)))  # every vocabulary has two more
    return replace(
        schema,
        dimensions=tuple(replace(dimension, kind=words) for dimension in schema.dimensions),
        metrics=tuple(replace(metric, edges=metric.edges[:1]) for metric in schema.metrics),
        tables=_of_one_dimension(schema.tables),
        coarse_tables=_of_one_dimension(schema.coarse_tables),
    )


def target(scene: Scene, number: int, last: bool) -> list[Report]:
    """What the target sends: a report a week, of so many cells, with all requests in the first or last bucket."""
    return [_installation(scene, back, range(number), last, _token(back)) for back in range(scene.weeks)]


def crowd(scene: Scene, keys: Iterable[CellKey], size: int) -> list[Report]:
    """Others in the same cells: so many in each, who report one cell, in the last week."""
    numbers = sorted({scene.words.index(key[0]) for key in keys})
    return [
        _installation(scene, 0, (number,), False, f"{number} {other}".encode())
        for number in numbers
        for other in range(size)
    ]


def is_target(one: Report) -> bool:
    """Whether a report is the target's, of whichever week."""
    back = next(back for back in itertools.count() if WEEK.before(back) == one.week)
    return one.report_id == report.report_id_of(_token(back))


def _installation(scene: Scene, back: int, numbers: Iterable[int], last: bool, token: bytes) -> Report:
    """The report of an installation that used these cells, each as much, in the week so many before the last."""
    counts = CellCounts(REQUESTS, {m.name: _all_in_one(m.buckets, last) for m in scene.schema.metrics})
    keys = [tuple(d.vocabulary[number] for d in scene.schema.dimensions) for number in numbers]
    made = report.make_report(
        Counts(WEEK.before(back), dict.fromkeys(keys, counts)),
        scene.schema,
        token=token,
        purposes=frozenset(PURPOSES),
        synthetic=True,
    )
    assert made is not None, "an installation without a cell"
    return made


def _token(back: int) -> bytes:
    """What the target's report of a week is named by; as with every report, another one each week."""
    return f"target {back}".encode()


def _all_in_one(buckets: int, last: bool) -> tuple[int, ...]:
    empty = (0,) * (buckets - 1)
    return (*empty, REQUESTS) if last else (REQUESTS, *empty)


def _of_one_dimension(tables: Sequence[Table]) -> tuple[Table, ...]:
    return tuple(replace(table, dimensions=table.dimensions[:1]) for table in tables)
