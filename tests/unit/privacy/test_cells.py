import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_privacy.cells import (
    fold,
    project,
    squared_count_sensitivity,
    squared_histogram_sensitivity,
    weight,
)
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import KERNEL, RADIUS, SPREAD, spread, spread_buckets, squared_norm
from tests.spans import example_report, example_span, table

spans = st.builds(
    lambda concurrency, tokens, quantization, ttft: example_span(
        metavox__request__concurrency=concurrency,
        gen_ai__usage__input_tokens=tokens,
        metavox__model__quantization=quantization,
        gen_ai__server__time_to_first_token=ttft,
    ),
    st.sampled_from([1, 8, 20]),
    st.sampled_from([10, 100, 1000]),
    st.sampled_from(["bfloat16", "int8"]),
    st.floats(0.001, 10),
)


@pytest.mark.parametrize("one", SCHEMA.tables, ids=lambda t: t.name)
@given(st.lists(spans, min_size=1, max_size=12))
@settings(max_examples=25)
def test_no_report_moves_a_table_further_than_its_stated_sensitivity(one, requests):
    added = project(example_report(*requests), one, SCHEMA)
    assert sum(cell.contributors**2 for cell in added.values()) <= squared_count_sensitivity(SCHEMA, 1)
    for name in one.metrics:
        assert moved(added, name) <= squared_histogram_sensitivity(SCHEMA.metric[name], SCHEMA, 1)


def moved(added, name):
    """The squared L2 distance by which a report moves what the noise of a metric is added to."""
    spreads = [
        spread(cell.histograms[name], SCHEMA.metric[name]) for cell in added.values() if name in cell.histograms
    ]
    return sum(n * n for one in spreads for n in one)


@pytest.mark.parametrize("beside", [(1,), (1, 3, 10, 70)], ids=["in one cell", "in all four"])
def test_the_sensitivity_is_reached_so_it_is_not_overstated(beside):
    added = project(
        example_report(*(example_span(metavox__request__concurrency=n) for n in beside)),
        table("performance"),
        SCHEMA,
    )
    assert len(added) == len(beside)
    for name in table("performance").metrics:
        assert moved(added, name) == squared_histogram_sensitivity(SCHEMA.metric[name], SCHEMA, 1)


@pytest.mark.parametrize("keys", [1, 2, 3, 4])
def test_a_report_of_any_number_of_keys_moves_all_of_them_together_by_no_more_than_one_does(keys):
    assert keys * weight(keys, 256) ** 2 <= 256**2 < keys * (weight(keys, 256) + 1) ** 2


@given(
    st.lists(st.integers(0, 256), min_size=64, max_size=64), st.lists(st.integers(0, 256), min_size=64, max_size=64)
)
@settings(max_examples=50)
def test_spreading_loses_nothing_and_adds_up(one, other):
    metric = SCHEMA.metric["time_to_first_token"]
    assert len(spread(one, metric)) == spread_buckets(metric) == 64 + 2 * RADIUS
    assert sum(spread(one, metric)) == SPREAD * sum(one)
    both = [a + b for a, b in zip(one, other, strict=True)]
    apart = zip(spread(one, metric), spread(other, metric), strict=True)
    assert spread(both, metric) == [a + b for a, b in apart]
    assert sum(n * n for n in spread(one, metric)) <= sum(one) ** 2 * squared_norm(metric)


def test_a_unit_is_seen_alike_wherever_it_is_and_a_rate_is_not_spread():
    metric = SCHEMA.metric["peak_device_memory"]
    for bucket in (0, 30, 63):
        seen = spread([int(n == bucket) for n in range(64)], metric)
        assert tuple(seen[bucket : bucket + len(KERNEL)]) == KERNEL
        assert sum(n * n for n in seen) == squared_norm(metric)
    assert spread([3, 4], SCHEMA.metric["error_rate"]) == [3, 4]
    assert squared_norm(SCHEMA.metric["error_rate"]) == 1


def test_weeks_that_are_released_together_can_all_hold_the_same_installation():
    metric = SCHEMA.metric["time_to_first_token"]
    assert squared_histogram_sensitivity(metric, SCHEMA, 4) == 16 * squared_histogram_sensitivity(metric, SCHEMA, 1)
    assert squared_count_sensitivity(SCHEMA, 4) == 16 * squared_count_sensitivity(SCHEMA, 1)


def test_cells_that_share_a_key_become_one_of_256_units():
    requests = [example_span(gen_ai__usage__input_tokens=n) for n in (10, 100, 1000)]
    (cell,) = project(example_report(*requests), table("performance"), SCHEMA).values()
    assert cell.contributors == 1
    assert all(sum(histogram) == SCHEMA.units for histogram in cell.histograms.values())


def test_a_fold_is_the_sum_of_its_reports():
    reports = [example_report(token=bytes([i])) for i in range(5)]
    tables = fold(reports, SCHEMA, SCHEMA.tables)
    for one in SCHEMA.tables:
        (cell,) = tables[one.name].values()
        assert cell.contributors == 5
        assert all(sum(h) == 5 * SCHEMA.units for h in cell.histograms.values())
        assert set(cell.histograms) == set(one.metrics)
