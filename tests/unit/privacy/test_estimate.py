import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.estimate import quantile
from metavox_privacy.schema import SCHEMA

EDGES = SCHEMA.metric["time_to_first_token"].edges


def histogram(values):
    counts = [0] * 64
    metric = SCHEMA.metric["time_to_first_token"]
    for value in values:
        counts[metric.observe({metric.source: value})] += 1
    return counts


@given(st.lists(st.floats(0.0011, 119), min_size=5, max_size=60), st.sampled_from([0.5, 0.75, 0.9, 0.99]))
def test_without_noise_a_quantile_lies_in_the_bucket_of_the_true_one(values, q):
    exact = sorted(values)[max(0, -(-len(values) * round(q * 100) // 100) - 1)]
    estimated = quantile(histogram(values), EDGES, q)
    assert exact / 1.27 <= estimated <= exact * 1.27


def test_an_empty_histogram_has_no_quantile():
    assert quantile([0.0] * 64, EDGES, 0.5) is None


def test_the_open_buckets_are_as_wide_as_their_neighbours():
    first, last = [0] * 64, [0] * 64
    first[0] = last[-1] = 1
    assert quantile(first, EDGES, 0.5) == pytest.approx(EDGES[0] * (EDGES[0] / EDGES[1]) ** 0.5)
    assert quantile(last, EDGES, 0.5) == pytest.approx(EDGES[-1] * (EDGES[-1] / EDGES[-2]) ** 0.5)
