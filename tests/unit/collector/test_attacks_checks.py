"""What is checked of a release itself: each fault is found by its gate, and by no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metavox_collector.proof.attacks import Parameters, attack
from metavox_collector.proof.attacks.checks import checked, shown
from metavox_collector.proof.attacks.parameters import WEEK
from metavox_collector.proof.attacks.world import times
from metavox_collector.simulate.fleet import fleet
from metavox_privacy.cells import fold
from metavox_privacy.release import Release
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.attacked import PARAMETERS, noisy

SUMS = times(fold(fleet(12, WEEK, SCHEMA, seed=4), SCHEMA, SCHEMA.tables), 3000)

BELOW = "no cell below the threshold"
WEAKER = "threshold and noise as ρ asks"
NOISE = "noise is in the published numbers"
NEW = "noise is new in each release"


def _release(seed: int, part: float = 1.0) -> Release:
    return noisy(seed, part=part)(SUMS, SCHEMA, PARAMETERS.authorization())


def _failed(release: Release, before: Release | None = None) -> list[str]:
    return [gate.name for gate in checked(release, before, SCHEMA) if not gate.passed]


def _with(release: Release, **changes: object) -> Release:
    first, *others = release.tables
    return replace(release, tables=(replace(first, **changes), *others))


def test_a_release_as_it_should_be_passes_all_four() -> None:
    gates = list(checked(_release(1), _release(2), SCHEMA))
    assert [gate.name for gate in gates] == [BELOW, WEAKER, NOISE, NEW]
    assert all(gate.passed for gate in gates)
    assert all(gate.release.trials for gate in gates)


def test_a_cell_below_the_threshold_is_found() -> None:
    release = _release(1)
    least = release.tables[0].threshold
    cells = (*release.tables[0].cells, replace(release.tables[0].cells[-1], contributors=least - 1))
    assert _failed(_with(release, cells=cells)) == [BELOW]


def test_a_lowered_threshold_is_found() -> None:
    release = _release(1)
    assert _failed(_with(release, threshold=release.tables[0].threshold - 1)) == [WEAKER]


def test_noise_for_a_smaller_sensitivity_is_found() -> None:
    release = _release(1)
    table = release.tables[0]
    assert _failed(_with(release, count_scale=table.count_scale / 2)) == [WEAKER]
    scales = {name: scale * 0.99 for name, scale in table.histogram_scales.items()}
    assert _failed(_with(release, histogram_scales=scales)) == [WEAKER]


def test_half_of_the_noise_that_is_declared_is_found_in_the_numbers() -> None:
    assert _failed(_release(3, part=0.5)) == [NOISE]


def test_the_same_noise_in_two_releases_is_found() -> None:
    assert _failed(_release(5), _release(5)) == [NEW]


def test_no_noise_at_all_is_found_in_the_numbers_and_in_what_changes() -> None:
    assert _failed(_release(6, part=0.0), _release(7, part=0.0)) == [NOISE, NEW]


def test_what_a_reader_sees_of_its_size_is_taken_from_noisy_numbers() -> None:
    release = _release(1)
    table = release.tables[0]
    assert shown(release)[table.name] == {
        "keys": table.keys,
        "cells": len(table.cells),
        "contributors": sum(cell.contributors for cell in table.cells),
        "fewest": min(cell.contributors for cell in table.cells),
        "threshold": table.threshold,
    }


def test_a_release_of_another_schema_or_of_other_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="schema version 1"):
        Parameters.of(replace(_release(1), schema_version=1), SCHEMA)
    with pytest.raises(ValueError, match="other parameters"):
        attack(replace(PARAMETERS, weeks=4), release=_release(1))
