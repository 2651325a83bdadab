import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_privacy.estimate import best_support, denoise, mean, quantile, share
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


def test_an_empty_histogram_has_no_quantile_and_no_mean():
    assert quantile([0.0] * 64, EDGES, 0.5) is None
    assert mean([0.0] * 64, EDGES) is None


def test_the_mean_is_close_to_the_true_one():
    rng = random.Random(1)
    values = [rng.lognormvariate(-3, 0.5) for _ in range(5000)]
    assert mean(histogram(values), EDGES) == pytest.approx(sum(values) / len(values), rel=0.02)


def test_noise_far_from_the_signal_is_left_out():
    rng = random.Random(2)
    values = [rng.lognormvariate(-3, 0.3) for _ in range(2000)]
    truth = [256 * n for n in histogram(values)]
    noisy = [round(n + rng.gauss(0, 3000)) for n in truth]
    first, end = best_support(noisy, 3000)
    assert sum(truth[first:end]) > 0.9 * sum(truth)
    kept, clipped = denoise(noisy, 3000), [max(n, 0) for n in noisy]
    exact = quantile(truth, EDGES, 0.99)
    assert quantile(kept, EDGES, 0.99) == pytest.approx(exact, rel=0.35)
    assert quantile(clipped, EDGES, 0.99) > 5 * exact


def test_a_share_stays_between_zero_and_one():
    assert share([900, 100]) == pytest.approx(0.1)
    assert share([1000, -5]) == 0.0
    assert share([-5, 1000]) == 1.0
    assert share([-5, -5]) is None
