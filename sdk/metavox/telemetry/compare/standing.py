"""Where a machine stands: its own times beside those that were released for the same device and model.

Nothing here reads a file or asks anybody. A release gives each installation the same weight, so a part of its
histogram is a part of the requests when every installation counts as much as any other, never one of machines.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metavox.telemetry.compare.released import DIMENSIONS, METRICS, Measured, PublicCell, PublicRelease
from metavox_privacy.anonymize import CellKey, anonymize
from metavox_privacy.estimate import quantile
from metavox_privacy.fields import OTHER, UNKNOWN, quantity
from metavox_privacy.report import Histogram
from metavox_privacy.schema import Schema
from metavox_privacy.span import Span


@dataclass(frozen=True, slots=True)
class Times:
    """A metric's middle and its slow end, in seconds."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Own:
    """What this machine does.

    Attributes:
        key: One word for each of the release's dimensions, as the machine's own report would have it.
        times: By metric; a metric that was not measured is absent.
        requests: How many requests that is; None when only their proportions are known.
    """

    key: tuple[str, ...]
    times: Mapping[str, Times]
    requests: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One metric, ours and theirs.

    Attributes:
        own: This machine's, in seconds.
        theirs: What was released.
        edges: The inner edges of its buckets, in seconds.
        slower: The part of their requests, 0 to 1, that took longer than our median, when each installation
            weighs the same.
    """

    own: Times
    theirs: Measured
    edges: tuple[float, ...]
    slower: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A machine beside the nearest released cell.

    Attributes:
        release: Where the cell is from.
        own: This machine.
        cell: The nearest cell of the same device and model.
        differences: By dimension, our word and theirs where they are not the same.
        standings: By metric, what both have.
    """

    release: PublicRelease
    own: Own
    cell: PublicCell
    differences: Mapping[str, tuple[str, str]]
    standings: Mapping[str, Standing]


class NothingToCompare(Exception):
    """There is nothing on one of the two sides; the message says what to do."""


def compare(own: Own, release: PublicRelease, schema: Schema) -> Comparison:
    """Put a machine beside the nearest released cell.

    Raises:
        NothingToCompare: if no cell has the same device and model and figures that the noise does not hide.
    """
    cell = nearest(own.key, release, schema)
    differences = {
        name: (ours, theirs)
        for name, ours, theirs in zip(DIMENSIONS, own.key, cell.key, strict=True)
        if ours != theirs
    }
    standings = {
        name: _standing(own.times[name], cell.measured[name], release.edges[name])
        for name in METRICS
        if name in own.times and name in cell.measured
    }
    if not standings:
        raise NothingToCompare("the release and this machine have no figure in common; make longer outputs")
    return Comparison(release, own, cell, differences, standings)


def nearest(key: tuple[str, ...], release: PublicRelease, schema: Schema) -> PublicCell:
    """The cell of the same device and model whose number format, then concurrency, is nearest.

    Of equals it is the one with the most contributors. Raises NothingToCompare.
    """
    accelerator, model, quantization, concurrency = key
    require_named("accelerator", accelerator)
    require_named("model", model)
    there = [cell for cell in release.cells if cell.measured and cell.key[:2] == (accelerator, model)]
    if not there:
        raise NothingToCompare(_absent(accelerator, model, release))
    steps = schema.dimension["concurrency"].vocabulary[:-1]  # the last is unknown
    return min(
        there,
        key=lambda cell: (
            cell.key[2] != quantization,
            _distance(cell.key[3], concurrency, steps),
            -cell.contributors,
            cell.key,
        ),
    )


def require_named(dimension: str, word: str) -> None:
    """Refuse what the public catalogue does not name; raises NothingToCompare."""
    if word in (OTHER, UNKNOWN):
        raise NothingToCompare(
            f"the {dimension} is not in the public catalogue, and only for what that names is anything released"
        )


def released_for(release: PublicRelease, dimension: str, word: str) -> list[PublicCell]:
    """The cells with figures that have a word."""
    position = DIMENSIONS.index(dimension)
    return [cell for cell in release.cells if cell.measured and cell.key[position] == word]


def own_of_spans(spans: Iterable[Span], schema: Schema) -> Own:
    """What requests of one kind took, from their own exact times.

    Raises:
        NothingToCompare: if there is no request.
    """
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    key, requests = None, 0
    for span in spans:
        record = anonymize(span, schema)
        if record is None:
            continue
        key, requests = performance_key(record.cell, schema), requests + 1
        for name in METRICS:
            seconds = quantity(span.attributes.get(schema.metric[name].source))
            if seconds is not None:
                values[name].append(seconds)
    if key is None:
        raise NothingToCompare("no request was finished")
    times = {name: Times(_at(found, 0.5), _at(found, 0.9)) for name, found in values.items() if found}
    return Own(key, times, requests)


def own_of_cells(
    cells: Iterable[tuple[CellKey, int | None, Mapping[str, Histogram]]], model: str | None, schema: Schema
) -> Own | None:
    """What the journal says of its most used kind of request, or of a model's.

    Args:
        cells: Key, number of requests (None when a report holds proportions alone) and counts by bucket.
        model: The only model that is looked at; None for every one of the catalogue.
        schema: The declaration that they were counted under.

    Returns:
        None when there is no such request on a device and with a model of the catalogue.
    """
    requests: dict[tuple[str, ...], int] = {}
    sums: dict[tuple[str, ...], dict[str, list[int]]] = {}
    exact = True
    for cell, number, histograms in cells:
        key = performance_key(cell, schema)
        if OTHER in key[:2] or UNKNOWN in key[:2] or model not in (None, key[1]):
            continue
        exact = exact and number is not None
        requests[key] = requests.get(key, 0) + (1 if number is None else number)
        for name in METRICS:
            if name in histograms:
                total = sums.setdefault(key, {}).get(name, [0] * schema.metric[name].buckets)
                sums[key][name] = [a + b for a, b in zip(total, histograms[name], strict=True)]
    if not sums:
        return None
    key = max(sums, key=lambda one: (requests[one], one))
    times = {name: _times(units, schema.metric[name].edges) for name, units in sums[key].items()}
    return Own(
        key, {name: found for name, found in times.items() if found is not None}, requests[key] if exact else None
    )


def performance_key(cell: CellKey, schema: Schema) -> tuple[str, ...]:
    """The part of a cell's key that a release is published by."""
    return tuple(cell[schema.position[name]] for name in DIMENSIONS)


def share_above(histogram: Sequence[int], edges: Sequence[float], value: float) -> float:
    """The part of a histogram above a value, 0 to 1, split in log space inside its bucket.

    Args:
        histogram: Weights of ``len(edges) + 1`` buckets, not all 0; a bucket ends at its edge and begins at the one
            before, and the two open ones are as wide as their neighbours.
        edges: Ascending inner edges, above zero.
        value: Not negative.
    """
    above = 0.0
    for weight, (low, high) in zip(histogram, ends_of(edges), strict=True):
        if value <= low:
            above += weight
        elif value < high:
            above += weight * math.log(high / value) / math.log(high / low)
    return above / sum(histogram)


def ends_of(edges: Sequence[float]) -> list[tuple[float, float]]:
    """Both ends of every bucket; the two open ones are given their neighbour's width in log space."""
    ends = [edges[0] ** 2 / edges[1], *edges, edges[-1] ** 2 / edges[-2]]
    return list(itertools.pairwise(ends))


def _standing(own: Times, theirs: Measured, edges: tuple[float, ...]) -> Standing:
    return Standing(own, theirs, edges, share_above(theirs.histogram, edges, own.p50))


def _distance(theirs: str, ours: str, steps: Sequence[str]) -> int:
    if theirs == ours:
        return 0
    return abs(steps.index(theirs) - steps.index(ours)) if theirs in steps and ours in steps else len(steps)


def _absent(accelerator: str, model: str, release: PublicRelease) -> str:
    others = sorted({cell.key[1] for cell in released_for(release, "accelerator", accelerator)})
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        return (
            f"the release of {release.week} has nothing for {model} on {accelerator}; for this device it has "
            f"{shown}: choose one with --model"
        )
    devices = len({cell.key[0] for cell in released_for(release, "model", model)})
    others_word = f"{devices} other device{'s' if devices > 1 else ''}"
    where = f"it has that model on {others_word}" if devices else "nor has it that model elsewhere"
    return (
        f"the release of {release.week} has nothing for {accelerator}, because too few installations contributed; "
        f"{where}. Another week may have it"
    )


def _times(units: Sequence[int], edges: Sequence[float]) -> Times | None:
    middle, slow = quantile(units, edges, 0.5), quantile(units, edges, 0.9)
    return None if middle is None or slow is None else Times(middle, slow)


def _at(values: Sequence[float], q: float) -> float:
    """The q-quantile, interpolated between the two nearest values."""
    ordered, place = sorted(values), q * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
