"""Rare hardware: installations that are alone with theirs, and how often the release shows that they exist."""

from __future__ import annotations

from metavox_collector.proof.attacks.bounds import Proportion, true_positives
from metavox_collector.proof.attacks.fleet import Fleet
from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.verdicts import Measured
from metavox_collector.proof.attacks.world import Publish, World
from metavox_privacy.fields import Table
from metavox_privacy.release import PHANTOMS, Release, ReleasedTable

PLACES = 500
"""Lone installations in one release."""


def lone_in_world(parameters: Parameters, lone: int, publish: Publish) -> Measured:
    """How many of those who are alone in their cell are published, where nobody else reports anything."""
    shown = trials = 0
    limit = 0.0
    world = World(parameters, PLACES, crowded=False)
    table = next(table for table in parameters.tables if table.metrics)
    at = [world.parameters.schema.position[name] for name in table.dimensions]
    reports = [world.report(place, 0, 0) for place in range(PLACES)]
    for _ in range(-(-lone // PLACES)):
        released = _of(world.release(reports, publish), table)
        published = {cell.key for cell in released.cells}
        shown += sum(tuple(report.cells[0].key[i] for i in at) in published for report in reports)
        trials += PLACES
        limit = _limit(released, parameters)
    return _measured(Proportion(shown, trials), limit)


def lone_in_fleet(release: Release, fleet: Fleet) -> Measured:
    """The same in a whole fleet, under all the words of the schema."""
    table = next(table for table in fleet.parameters.tables if table.metrics)
    released = _of(release, table)
    published = {cell.key for cell in released.cells}
    alone = [key for key, people in fleet.installations(table).items() if people == 1]
    shown = Proportion(sum(key in published for key in alone), len(alone))
    return _measured(shown, _limit(released, fleet.parameters))


def _limit(table: ReleasedTable, parameters: Parameters) -> float:
    """The rate at which empty cells appear, and what one installation may add to it.

    The threshold is at least where that rate, by :data:`metavox_privacy.release.PHANTOMS`, is reached; one
    installation shifts the count by a report a week. The noise is integer: half a count is what rounding may hide.
    """
    return true_positives(PHANTOMS / table.keys, (parameters.weeks + 0.5) / table.count_scale)


def _measured(shown: Proportion, limit: float) -> Measured:
    return Measured(shown.rate, shown.low(), shown.high(), limit, shown.trials)


def _of(release: Release, table: Table) -> ReleasedTable:
    return next(found for found in release.tables if found.name == table.name)
