"""Linking tables: whether a release says that rows of two of its tables are of the same installation."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.verdicts import Measured
from metavox_collector.proof.attacks.world import World
from metavox_privacy.cells import fold
from metavox_privacy.fields import Table
from metavox_privacy.report import Report


def tables_linked(parameters: Parameters) -> tuple[Measured, Measured]:
    """The part of all pairs of tables in which two fleets differ that differ in who is who alone; the control.

    In one fleet an installation has the first word of a field of one table and the first of a field of another, and
    a second installation has the second words; in the other fleet they have swapped one. If the sums of both fleets
    are the same, so is the distribution of the release, and nobody can tell them apart. The control sees reports.
    """
    world = World(parameters, 2, crowded=False)
    pairs = [
        pair
        for one, other in itertools.combinations(parameters.tables, 2)
        if (pair := _apart(one, other, parameters))
    ]
    told = seen = 0
    for fields in pairs:
        fleets = [_fleet(world, fields, swapped) for swapped in (False, True)]
        sums = [fold(reports, world.parameters.schema, parameters.tables) for reports in fleets]
        told += sums[0] != sums[1]
        keys = [Counter(cell.key for report in reports for cell in report.cells) for reports in fleets]
        seen += keys[0] != keys[1]
    return _measured(told, len(pairs)), _measured(seen, len(pairs))


def _apart(one: Table, other: Table, parameters: Parameters) -> tuple[str, str] | None:
    """A field of each that is in no other table."""
    uses = Counter(name for table in parameters.tables for name in table.dimensions)
    own = [next((name for name in table.dimensions if uses[name] == 1), None) for table in (one, other)]
    return (own[0], own[1]) if own[0] is not None and own[1] is not None else None


def _fleet(world: World, fields: tuple[str, str], swapped: bool) -> Sequence[Report]:
    """Two reports that differ in two fields alone."""
    position = world.parameters.schema.position
    words = [schema_words[:2] for schema_words in (world.parameters.schema.dimension[n].vocabulary for n in fields)]
    values = [(words[0][0], words[1][swapped]), (words[0][1], words[1][not swapped])]
    return [_with(world.report(0, 0, 0), dict(zip((position[n] for n in fields), v, strict=True))) for v in values]


def _with(report: Report, words: dict[int, str]) -> Report:
    (cell,) = report.cells
    return replace(report, cells=(replace(cell, key=tuple(words.get(i, w) for i, w in enumerate(cell.key))),))


def _measured(told: int, pairs: int) -> Measured:
    share = told / pairs if pairs else 1.0
    return Measured(share, share, share, 0.0, pairs)
