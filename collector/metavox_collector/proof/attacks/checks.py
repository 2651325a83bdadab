"""What can be checked of a release itself, from nothing but what is published."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from scipy.stats import chi2

from metavox_collector.proof.attacks.bounds import Proportion
from metavox_collector.proof.attacks.parameters import Parameters
from metavox_collector.proof.attacks.verdicts import Gate, Measured
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.fields import Table
from metavox_privacy.mechanism import gaussian
from metavox_privacy.release import Release, ReleasedTable, threshold
from metavox_privacy.schema import Schema

OUTER = 8
"""How many numbers at either end of a histogram are looked at: times and sizes that few have."""


def checked(release: Release, before: Release | None, schema: Schema) -> Iterator[Gate]:
    """The gates that a release itself has to pass; the last of them only beside the one before it."""
    parameters = Parameters.of(release, schema)
    pairs = list(zip(parameters.tables, release.tables, strict=True))
    yield _none(
        "no cell below the threshold",
        "Is a cell published whose noisy count is below the threshold of its table?",
        "none may be",
        [cell.contributors < table.threshold for _, table in pairs for cell in table.cells],
    )
    yield _none(
        "threshold and noise as ρ asks",
        "Is a table's threshold lower, or its noise smaller, than the declared sensitivity and share of ρ ask for?",
        "derived from schema, K, weeks and nano-ρ",
        [weaker for declared, table in pairs for weaker in _weaker(declared, table, parameters)],
    )
    yield _noise(
        "noise is in the published numbers",
        "Is there less noise than declared in the first and last numbers of the published histograms?",
        (
            sum(value**2 for value in end) / table.histogram_scales[name] ** 2
            for _, table in pairs
            for cell in table.cells
            for name, histogram in cell.histograms.items()
            for end in _ends(histogram)
        ),
    )
    if before is not None:
        yield _noise(
            "noise is new in each release",
            "Do this release and the one before differ there by less than two independent draws of noise would?",
            _changes(before, release),
        )


def shown(release: Release) -> dict[str, dict[str, int]]:
    """By table, what a reader sees of its size: keys that there could be, cells, noisy contributors, the fewest."""
    return {
        table.name: {
            "keys": table.keys,
            "cells": len(table.cells),
            "contributors": sum(cell.contributors for cell in table.cells),
            "fewest": min((cell.contributors for cell in table.cells), default=0),
            "threshold": table.threshold,
        }
        for table in release.tables
    }


def _weaker(declared: Table, table: ReleasedTable, parameters: Parameters) -> Iterator[bool]:
    """For each draw of a table whether it had less noise than it had to, and whether its threshold is too low."""
    schema, weeks, rho = parameters.schema, parameters.weeks, parameters.nano_rho
    scale = gaussian(
        squared_sensitivity=squared_count_sensitivity(schema, weeks), nano_rho=rho * declared.count_permille // 1000
    ).scale
    keys = math.prod(len(schema.dimension[name].vocabulary) for name in declared.dimensions)
    yield table.name != declared.name or table.dimensions != declared.dimensions
    yield table.keys != keys or table.threshold < threshold(scale, keys, weeks)
    yield table.count_scale < scale * (1 - 1e-9)
    for name, permille in declared.metrics.items():
        least = gaussian(
            squared_sensitivity=squared_histogram_sensitivity(schema.metric[name], schema, weeks),
            nano_rho=rho * permille // 1000,
        ).scale
        yield table.histogram_scales[name] < least * (1 - 1e-9)


def _changes(before: Release, release: Release) -> Iterator[float]:
    """For each end of a histogram that both publish the squares of what changed, in the two draws' variance."""
    for old, new in zip(before.tables, release.tables, strict=False):
        if old.name != new.name or old.dimensions != new.dimensions:
            continue
        found = {cell.key: cell for cell in old.cells}
        for cell in new.cells:
            if cell.key not in found:
                continue
            for name in cell.histograms.keys() & found[cell.key].histograms.keys():
                variance = old.histogram_scales[name] ** 2 + new.histogram_scales[name] ** 2
                pairs = zip(_ends(found[cell.key].histograms[name]), _ends(cell.histograms[name]), strict=True)
                for one, other in pairs:
                    yield sum((b - a) ** 2 for a, b in zip(one, other, strict=True)) / variance


def _ends(histogram: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The numbers at both ends; none of a rate, which has no place where nobody is."""
    return (histogram[:OUTER], histogram[-OUTER:]) if len(histogram) > 2 * OUTER else ()


def _noise(name: str, question: str, squares: Iterable[float]) -> Gate:
    """Whether more ends than half have a sum of squares, in units of the variance, below the median of noise alone.

    Whoever reports something there adds to the squares and never takes away, for noise does not know of it. And an
    end that many report in says nothing of all others.
    """
    median = float(chi2.ppf(0.5, OUTER))
    below = [square < median for square in squares]
    found = Proportion(sum(below), len(below))
    limit_from = "half of all ends: what is measured is how many have less than the median of noise alone"
    measured = Measured(found.rate, found.low(), found.high(), 0.5, found.trials)
    return Gate(name, "the release itself", question, limit_from, measured, None)


def _none(name: str, question: str, limit_from: str, found: Iterable[bool]) -> Gate:
    listed = list(found)
    share = sum(listed) / len(listed) if listed else 0.0
    return Gate(
        name, "the release itself", question, limit_from, Measured(share, share, share, 0.0, len(listed)), None
    )
