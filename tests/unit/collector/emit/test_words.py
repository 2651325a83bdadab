from __future__ import annotations

import math
from dataclasses import replace

import pytest

from metavox_collector.dataset import words
from metavox_collector.dataset.citation import citation
from metavox_collector.dataset.facts import DELTA, facts, first_day, last_day, period, primary_key, privacy_unit
from metavox_collector.dataset.model import Dataset
from metavox_privacy.budget import epsilon
from metavox_privacy.week import Week
from tests.unit.collector.emit.datasets import NANO_RHO, WEEK, example_dataset


def test_a_period_has_its_first_and_its_last_day() -> None:
    assert period(WEEK, 1) == "2026-W47 (2026-11-16 to 2026-11-22, UTC)"
    assert period(WEEK, 4) == "2026-W44 to 2026-W47 (2026-10-26 to 2026-11-22, UTC)"
    assert (first_day(Week(2027, 2), 4), last_day(Week(2027, 2))) == ("2026-12-21", "2027-01-17")


def test_the_unit_that_is_protected_grows_with_the_period(dataset: Dataset) -> None:
    assert privacy_unit(1) == "one installation in one ISO week"
    four = replace(dataset.release, weeks=4)
    longer = replace(dataset, labelled=replace(dataset.labelled, release=four))
    assert "one installation in 4 ISO weeks together" in words.price(longer)
    assert facts(four, synthetic=True)["first_week"] == "2026-W44"


def test_the_price_is_that_of_the_ledger(dataset: Dataset) -> None:
    assert f"ρ = 0.0145 zCDP, which implies ε = {epsilon(NANO_RHO, DELTA):.3g} at δ = 1e-08" in words.price(dataset)


def test_coverage_is_said_by_noisy_counts_with_their_noise(dataset: Dataset) -> None:
    table = dataset.table("hardware").released
    total = sum(cell.contributors for cell in table.cells)
    noise = table.count_scale * math.sqrt(len(table.cells))
    said = words.coverage(dataset)
    assert f"{len(table.cells)} published cells of 'hardware' add up to {total:,} contributors" in said
    assert f"(standard deviation of the noise {noise:,.0f})" in said
    assert "no cell of 'hardware' passed its threshold" in words.coverage(example_dataset(cells=0))


def test_every_threshold_is_said(dataset: Dataset) -> None:
    for table in dataset.tables:
        assert f"{table.name} {table.released.threshold}" in words.thresholds(dataset)


@pytest.mark.parametrize("synthetic", [True, False])
def test_simulated_figures_are_never_given_for_measured_ones(dataset: Dataset, *, synthetic: bool) -> None:
    other = replace(dataset, labelled=replace(dataset.labelled, synthetic=synthetic))
    assert words.summary(other).startswith("Synthetic") == synthetic
    assert words.collection(other).startswith("For this release a simulator") == synthetic
    assert ("synthetic" in citation(other)) == synthetic


def test_the_key_of_a_table_is_week_dimensions_and_metric(dataset: Dataset) -> None:
    assert primary_key(dataset.table("models")) == ("week", "model", "architecture", "parameters")
    assert primary_key(dataset.table("performance"))[-1] == "metric"
    for table in dataset.tables:
        keys = [tuple(row[name] for name in primary_key(table)) for row in table.rows]
        assert len(set(keys)) == len(keys) > 0
