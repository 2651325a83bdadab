"""A week's staged rows by the million, at some microseconds each: what `simulate` takes hours to make.

Installations have one of some thousand habits, after Zipf: a model on a device, in one number format. Nearly always
the four cells are one habit with prompts of four sizes, so that they share a key of the performance table. Each
histogram has a handful of buckets that are not empty, as some dozen requests of one kind make it.
"""

from __future__ import annotations

import itertools
import math
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metavox_collector.packing import PERMITS, Packing
from metavox_collector.store.rows import StagedRow
from metavox_privacy.fields import Metric
from metavox_privacy.report import ReportCell, apportion
from metavox_privacy.schema import Schema

HABITS = 3000
SHAPES = 300
IMPROVE_ONLY = 0.1
CROWDED = 0.2  # installations of which one cell is of another concurrency, and so has a key of its own


@dataclass(frozen=True)
class Habits:
    """What reports are put together from.

    Attributes:
        keys: For each habit its packed cells' keys, of which the last has another concurrency.
        weights: How many installations have each habit, in any unit, added up.
        shapes: For each metric, histograms, packed.
    """

    keys: Sequence[Sequence[bytes]]
    weights: Sequence[float]
    shapes: Sequence[Sequence[bytes]]


def habits(schema: Schema, *, number: int = HABITS, seed: int = 1) -> Habits:
    """Habits of a schema; the same seed makes the same."""
    chance, packing = random.Random(seed), Packing(schema)
    keys = [_keys(schema, packing, chance) for _ in range(number)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, number + 1)))
    some = ReportCell(tuple(dimension.vocabulary[0] for dimension in schema.dimensions), {})
    shapes = [
        [
            packing.pack(ReportCell(some.key, {metric.name: _shape(metric, schema, chance)}))[1]
            for _ in range(SHAPES)
        ]
        for metric in schema.metrics
    ]
    return Habits(keys, weights, shapes)


def rows(reports: int, of: Habits, *, seed: int = 1) -> Iterator[list[StagedRow]]:
    """So many reports of four cells, each as its rows."""
    chance = random.Random(seed)
    permitted = PERMITS["improve"], sum(PERMITS.values())
    for keys in chance.choices(of.keys, cum_weights=of.weights, k=reports):
        flags = permitted[chance.random() >= IMPROVE_ONLY]
        mine = [*keys[:3], keys[4 if chance.random() < CROWDED else 3]]
        name = chance.randbytes(32)
        yield [
            StagedRow(name, at, flags, key, b"".join([chance.choice(shapes) for shapes in of.shapes]))
            for at, key in enumerate(mine)
        ]


def everywhere(reports: int, of: Habits, schema: Schema, *, seed: int = 1) -> Iterator[list[StagedRow]]:
    """So many reports of four cells that have nothing in common: sums of as many keys as there can be."""
    chance = random.Random(seed)
    sizes = [len(dimension.vocabulary) for dimension in schema.dimensions]
    key = struct.Struct(f"<{len(sizes)}H")
    flags = sum(PERMITS.values())
    for _ in range(reports):
        name = chance.randbytes(32)
        yield [
            StagedRow(
                name,
                at,
                flags,
                key.pack(*[int(chance.random() * size) for size in sizes]),
                b"".join([chance.choice(shapes) for shapes in of.shapes]),
            )
            for at in range(schema.cells_per_report)
        ]


def _keys(schema: Schema, packing: Packing, chance: random.Random) -> list[bytes]:
    words = {dimension.name: chance.choice(dimension.vocabulary) for dimension in schema.dimensions}
    sizes = schema.dimension["input_tokens"].vocabulary
    crowds = schema.dimension["concurrency"].vocabulary
    cells = [{**words, "concurrency": crowds[0], "input_tokens": size} for size in chance.sample(sizes, 4)]
    cells.append({**cells[0], "concurrency": crowds[2]})
    return [packing.pack(ReportCell(tuple(cell[d.name] for d in schema.dimensions), {}))[0] for cell in cells]


def _shape(metric: Metric, schema: Schema, chance: random.Random) -> tuple[int, ...]:
    middle, width = chance.uniform(0, metric.buckets), chance.uniform(0.5, 2)
    near = (math.exp(-(((bucket - middle) / width) ** 2)) for bucket in range(metric.buckets))
    counts = [round(100 * share * chance.uniform(0.5, 1.5)) for share in near]
    return apportion(counts if any(counts) else [1, *counts[1:]], schema.units)
