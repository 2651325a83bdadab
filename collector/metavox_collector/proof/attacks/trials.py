"""Pairs of releases of a small world -> for each target, the likelihood of all that it could have reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.world import MODELS, SPEEDS, Publish, World
from metavox_privacy.cells import project
from metavox_privacy.release import Release, ReleasedTable
from metavox_privacy.smoothing import spread

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]

OUT = -1
"""The state of a target that reports nothing."""

PLACES = 50
"""Targets in one release."""

_STAYS, _LEAVES = 0.4, 0.25  # the rest is never there


@dataclass(frozen=True, slots=True)
class Trials:
    """What happened in pairs of consecutive releases, and what the attacker sees of it.

    Attributes:
        model: (pairs, 2) The target's model in each release, or OUT.
        guess: (pairs, 2) A model that the attacker has in mind where the target is OUT; else its model.
        speed: (pairs,) The target's speed.
        signal: (pairs, 2, models, speeds, tables) What is released, beyond all others' reports, along what this
            target would change; NaN where a table does not publish the cell.
        power: (pairs, 2, models, speeds, tables) The square of what it would change. Both in the noise's variance,
            so that ``signal - power / 2`` is the logarithm of the likelihood ratio to OUT.
    """

    model: Integers
    guess: Integers
    speed: Integers
    signal: Floats
    power: Floats

    @property
    def evidence(self) -> Floats:
        """(pairs, 2, models, speeds) The log-likelihood ratio of each hypothesis to OUT, over all tables."""
        evidence: Floats = np.nansum(self.signal - self.power / 2, axis=-1)
        return evidence


def trials(
    parameters: Parameters, pairs: int, publish: Publish, chance: np.random.Generator | None = None
) -> Trials:
    """Release pairs of weeks until so many targets were looked for, or a few more; chance says who is there."""
    world = World(parameters, PLACES)
    chance = chance or np.random.default_rng()
    return joined(_pair(world, chance, publish) for _ in range(-(-pairs // PLACES)))


def joined(parts: Iterable[Trials]) -> Trials:
    """All of them."""
    listed = list(parts)
    fields = ("model", "guess", "speed", "signal", "power")
    return Trials(*(np.concatenate([getattr(part, name) for part in listed]) for name in fields))


def _pair(world: World, chance: np.random.Generator, publish: Publish) -> Trials:
    fate = chance.random(world.places)
    present = np.stack([fate < _STAYS + _LEAVES, fate < _STAYS], axis=1)
    guess = chance.integers(len(MODELS), size=(world.places, 2))
    model = np.where(present, guess, OUT)
    speed = chance.integers(SPEEDS, size=world.places)
    seen = []
    for week in range(2):
        reports = [
            world.report(place, int(model[place, week]), int(speed[place]))
            for place in range(world.places)
            if present[place, week]
        ]
        seen.append(_seen(world.release(reports, publish), world))
    signal, power = (np.stack([one[i] for one in seen], axis=1) for i in range(2))
    return Trials(model, guess, speed, signal, power)


def _seen(release: Release, world: World) -> tuple[Floats, Floats]:
    """Signal and power, (places, models, speeds, tables) each."""
    parts = [seen_in(table, world) for table in release.tables]
    return np.stack([signal for signal, _ in parts], axis=-1), np.stack([power for _, power in parts], axis=-1)


def seen_in(released: ReleasedTable, world: World) -> tuple[Floats, Floats]:
    """Signal and power, as :class:`Trials` says, in one table: (places, models, speeds) each."""
    schema, weeks = world.parameters.schema, world.parameters.weeks
    table = next(table for table in world.parameters.tables if table.name == released.name)
    changes = [project(world.report(0, 0, speed), table, schema) for speed in range(SPEEDS)]
    ways = {
        name: weeks * np.array([spread(_only(c).histograms[name], schema.metric[name]) for c in changes], float)
        for name in table.metrics
    }
    variance = {name: released.histogram_scales[name] ** 2 for name in ways}
    least = released.count_scale**2
    power = weeks**2 / least + sum((way**2).sum(axis=1) / variance[name] for name, way in ways.items())
    cells = {cell.key: cell for cell in released.cells}
    shape = world.places, len(MODELS), SPEEDS
    signal, powers = np.full(shape, np.nan), np.full(shape, np.nan)
    for place in range(world.places):
        for model in range(len(MODELS)):
            (key,) = project(world.report(place, model, 0), table, schema)
            cell = cells.get(key)
            if cell is None:
                continue
            others = world.background[table.name].get(key)
            beyond = weeks * (cell.contributors - (others.contributors if others else 0)) / least
            along = np.full(SPEEDS, beyond)
            for name, way in ways.items():
                noisy = np.array(cell.histograms[name], float)
                if others:
                    noisy -= spread(others.histograms[name], schema.metric[name])
                along += way @ noisy / variance[name]
            signal[place, model], powers[place, model] = along, power
    return signal, powers


def _only(cells: Any) -> Any:
    (cell,) = cells.values()
    return cell
