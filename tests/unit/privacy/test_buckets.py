import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.buckets import bucket_of, log_spaced_edges
from metavox_privacy.schema import SCHEMA

SEMCONV = {
    "time_to_first_token": (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    "time_per_output_token": (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5),
}
HISTOGRAMS = [metric for metric in SCHEMA.metrics if not metric.is_rate]


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=lambda metric: metric.name)
def test_each_metric_has_64_ascending_buckets_no_wider_than_27_percent(metric):
    assert metric.buckets == 64
    assert all(a < b <= 1.27 * a for a, b in itertools.pairwise(metric.edges))


@pytest.mark.parametrize("name", SEMCONV)
def test_our_buckets_nest_into_those_of_the_semantic_conventions(name):
    assert set(SEMCONV[name]) <= set(SCHEMA.metric[name].edges)


@given(st.floats(1e-6, 1e6))
def test_a_value_lies_between_the_edges_of_its_bucket_upper_end_included(value):
    edges = SCHEMA.metric["time_to_first_token"].edges
    bounds = (-math.inf, *edges, math.inf)
    index = bucket_of(edges, value)
    assert bounds[index] < value <= bounds[index + 1]


def test_spare_edges_go_to_the_widest_gap():
    assert log_spaced_edges((10,), low=1, high=1000, buckets=5) == (1, 10, 100, 1000)
