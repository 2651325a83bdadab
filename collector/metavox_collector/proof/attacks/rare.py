"""Rare hardware: installations that are alone with theirs, and how often the release shows that they exist."""

from __future__ import annotations

import numpy as np

from metavox_collector.proof.attacks.bounds import Proportion, true_positives
from metavox_collector.proof.attacks.fleet import Fleet
from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.trials import seen_in
from metavox_collector.proof.attacks.verdicts import Measured
from metavox_collector.proof.attacks.world import SPEEDS, Publish, World
from metavox_privacy.fields import Table
from metavox_privacy.release import PHANTOMS, Release, ReleasedTable

PLACES = 500
"""Lone installations in one release."""


def lone_in_world(
    parameters: Parameters, lone: int, publish: Publish, chance: np.random.Generator | None = None
) -> tuple[Measured, Measured]:
    """Installations that are alone in their cell, where nobody else reports anything.

    Returns:
        How many of their cells are published, and by how much more than by chance their speed is guessed: from
        their cell's histogram where that is published, else as one guesses who knows nothing.
    """
    chance = chance or np.random.default_rng()
    world = World(parameters, PLACES, crowded=False)
    shown = right = trials = 0
    limit = 1.0
    for _ in range(-(-lone // PLACES)):
        speeds = chance.integers(SPEEDS, size=PLACES)
        release = world.release([world.report(place, 0, int(speeds[place])) for place in range(PLACES)], publish)
        (released,) = (table for table in release.tables if world.timed in table.histogram_scales)
        signal, power = seen_in(released, world)
        likely = (signal - power / 2)[:, 0]
        published = ~np.isnan(likely[:, 0])
        guessed = np.where(published, np.nan_to_num(likely).argmax(axis=1), chance.integers(SPEEDS, size=PLACES))
        shown += int(np.count_nonzero(published))
        right += int(np.count_nonzero(guessed == speeds))
        trials += PLACES
        limit = _limit(released, parameters)
    told = Proportion(right, trials)
    blind = 1 / SPEEDS
    beyond = Measured(told.rate - blind, told.low() - blind, told.high() - blind, limit, trials)
    return _measured(Proportion(shown, trials), limit), beyond


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
