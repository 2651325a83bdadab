"""A simulated fleet with rare hardware in it, released as a week of real reports would be."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from metavox_collector.fold.sums import Sums
from metavox_collector.packing import Packing, flags_of
from metavox_collector.proof.attacks.parameters import WEEK, Parameters
from metavox_collector.simulate.fleet import fleet
from metavox_collector.store.rows import StagedRow
from metavox_privacy.anonymize import CellKey
from metavox_privacy.cells import Cell, project
from metavox_privacy.fields import Table
from metavox_privacy.report import Report

RARE = 0.05
"""The part of the fleet whose hardware and model are drawn from all in the catalogues: mostly nobody else's."""

_DRAWN = ("accelerator", "model")
_AT_A_TIME = 2048


@dataclass(frozen=True)
class Fleet:
    """Reports of one week that permit the purpose.

    Attributes:
        parameters: Those of the release.
        reports: One for each installation, which sends the same in each week of the period.
    """

    parameters: Parameters
    reports: tuple[Report, ...]

    @cached_property
    def sums(self) -> dict[str, Mapping[CellKey, Cell]]:
        """What the collector's fold makes of them, over all weeks of the period."""
        packing = Packing(self.parameters.schema)
        sums = Sums(self.parameters.schema, packing, self.parameters.scope)
        for _ in range(self.parameters.weeks):
            for start in range(0, len(self.reports), _AT_A_TIME):
                sums.add(_rows(self.reports[start : start + _AT_A_TIME], packing))
        return sums.tables(self.parameters.purpose)

    def contributions(self, table: Table) -> list[dict[CellKey, Cell]]:
        """What each installation adds to a table in one week."""
        return [project(report, table, self.parameters.schema) for report in self.reports]

    def installations(self, table: Table) -> Counter[CellKey]:
        """How many installations are in each key of a table."""
        return Counter(key for cells in self.contributions(table) for key in cells)


def simulated(parameters: Parameters, installations: int) -> Fleet:
    """A new fleet; nothing of it is anybody's."""
    chance = random.Random()  # noqa: S311  # a simulation, in which nothing is secret
    reports = fleet(installations, WEEK, parameters.schema)
    asked = (_rarer(r, chance, parameters) if chance.random() < RARE else r for r in reports)
    return Fleet(parameters, tuple(r for r in asked if parameters.purpose in r.purposes))


def _rarer(report: Report, chance: random.Random, parameters: Parameters) -> Report:
    """The same installation with other hardware and another model, the same in all of its cells."""
    schema = parameters.schema
    words = {schema.position[n]: chance.choice(schema.dimension[n].vocabulary) for n in _DRAWN}
    cells = (
        replace(cell, key=tuple(words.get(i, word) for i, word in enumerate(cell.key))) for cell in report.cells
    )
    return replace(report, cells=tuple(cells))


def _rows(reports: Sequence[Report], packing: Packing) -> list[StagedRow]:
    """As they would be staged, each under a name of its own."""
    return [
        StagedRow(name, position, flags_of(report), *packing.pack(cell))
        for report in reports
        for name in [secrets.token_bytes(32)]
        for position, cell in enumerate(report.cells)
    ]
