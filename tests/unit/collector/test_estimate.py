"""What an estimate promises, on histograms whose truth is known."""

from __future__ import annotations

import math
import os
from dataclasses import fields

import numpy as np
import pytest

from metavox_collector.estimate import Estimate, estimate, estimate_all
from metavox_collector.estimate.axis import axis_of
from metavox_collector.estimate.estimator import WITHIN, intervals
from metavox_collector.estimate.figures import FIGURES, log_figures
from metavox_privacy.estimate import quantile
from metavox_privacy.fields import Metric
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import spread, spread_buckets, squared_norm

TIME = SCHEMA.metric["time_to_first_token"]
EACH = SCHEMA.metric["time_per_output_token"]
RATE = SCHEMA.metric["error_rate"]
UNITS = SCHEMA.units


def histogram(metric: Metric, values: np.ndarray) -> list[int]:
    """One contributor a value, all of its units in one bucket."""
    found = np.searchsorted(metric.edges, values)
    return (np.bincount(found, minlength=metric.buckets) * UNITS).tolist()


def noisy(metric: Metric, units: list[int], signal: float, seed: int = 1) -> tuple[list[int], float]:
    """The spread histogram under noise that leaves so much signal, and the noise's scale."""
    scale = sum(units) * math.sqrt(squared_norm(metric)) / signal
    clean = np.array(spread(units, metric))
    drawn = np.random.default_rng(seed).normal(0, scale, len(clean))
    return np.round(clean + drawn).astype(int).tolist(), scale


def log_normal(seed: int = 1, contributors: int = 3000) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(math.log(0.3), 0.5, contributors))


def test_without_noise_to_speak_of_every_figure_is_the_exact_histograms() -> None:
    units = histogram(TIME, log_normal())
    found = estimate(TIME, *noisy(TIME, units, 50_000))
    exact = np.exp(log_figures(np.array([units], dtype=float), axis_of(TIME.edges))[0])
    for name, value in zip(FIGURES, exact, strict=True):
        figure = found.figures[name]
        assert figure is not None
        assert figure.value == pytest.approx(value, rel=0.01), name
        assert figure.low <= figure.value <= figure.high
    assert found.shares == pytest.approx([unit / sum(units) for unit in units], abs=0.005)
    assert found.signal_to_noise == pytest.approx(50_000, rel=0.01)


def test_a_quantile_is_interpolated_as_everywhere_else() -> None:
    units = histogram(TIME, log_normal())
    logs = log_figures(np.array([units], dtype=float), axis_of(TIME.edges))[0]
    for name, q in {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}.items():
        assert math.exp(logs[FIGURES.index(name)]) == pytest.approx(quantile(units, TIME.edges, q))


def test_the_less_noise_the_narrower_the_interval() -> None:
    units = histogram(TIME, log_normal())
    widths = []
    for signal in (15, 60, 240):
        figure = estimate(TIME, *noisy(TIME, units, signal)).figures["p50"]
        assert figure is not None
        widths.append(math.log(figure.high / figure.low))
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 4 * widths[2]


def test_noise_alone_has_no_figure() -> None:
    rng = np.random.default_rng(5)
    found = [
        estimate(TIME, np.round(rng.normal(0, 5e4, spread_buckets(TIME))).astype(int).tolist(), 5e4)
        for _ in range(400)
    ]
    silent = Estimate((), dict.fromkeys(FIGURES), 0.0)
    assert sum(one != silent for one in found) <= 8  # 1.2 are expected


def test_a_figure_that_noise_hides_is_none_before_those_that_it_does_not() -> None:
    units = histogram(TIME, log_normal())
    found = estimate(TIME, *noisy(TIME, units, 12)).figures
    assert found["p50"] is not None
    assert found["p99"] is None
    clear = estimate(TIME, *noisy(TIME, units, 400)).figures
    assert all(figure is not None for figure in clear.values())


def test_whatever_is_given_has_an_interval_within_the_promised_factor() -> None:
    units = histogram(TIME, log_normal())
    given = 0
    for seed in range(20):
        for figure in estimate(TIME, *noisy(TIME, units, 12, seed)).figures.values():
            if figure is not None:
                given += 1
                assert figure.value / WITHIN <= figure.low <= figure.value <= figure.high <= figure.value * WITHIN
    assert given > 20


def test_the_ends_of_the_quantiles_intervals_are_in_the_quantiles_order() -> None:
    axis = axis_of(SCHEMA.metric["time_to_first_token"].edges)
    spread_of = {"p50": 0.1, "p75": 2.0, "p90": 0.1, "p95": 0.1, "p99": 2.0, "mean": 5.0}
    normals = np.random.default_rng(1).standard_normal((2000, 1))
    draws = np.array([list(spread_of.values())]) * normals + np.array([[0, 0.2, 0.4, 0.6, 0.8, 0.3]])
    low, middle, high = intervals(draws, axis)
    for ends in (low[:5], middle[:5], high[:5]):
        assert (np.diff(ends) >= 0).all()
    assert (low <= middle).all()
    assert (middle <= high).all()
    assert low[4] == low[3] < middle[3]
    assert high[1] == high[2] > middle[2]
    assert low[5] < low[0] - 5  # a mean is in no order with them


def test_a_mean_is_given_only_beside_the_p95() -> None:
    units = histogram(TIME, log_normal())
    found = [estimate(TIME, *noisy(TIME, units, 9, seed)).figures for seed in range(30)]
    assert any(one["p95"] is None for one in found)
    assert all(one["mean"] is None for one in found if one["p95"] is None)


def test_all_in_one_bucket_at_either_end_is_found_there() -> None:
    for bucket in (0, 31, EACH.buckets - 1):
        units = [0] * EACH.buckets
        units[bucket] = 500 * UNITS
        found = estimate(EACH, *noisy(EACH, units, 100))
        assert int(np.argmax(found.shares)) == bucket
        assert found.shares[bucket] > 0.9


def test_the_same_release_has_the_same_figures() -> None:
    one = (TIME, *noisy(TIME, histogram(TIME, log_normal()), 30))
    assert estimate(*one) == estimate(*one)


def test_many_are_shared_between_processes_and_come_back_in_order() -> None:
    jobs = [(TIME, *noisy(TIME, histogram(TIME, log_normal(seed, 200 + seed)), 40, seed)) for seed in range(6)]
    jobs.append((RATE, [99_000, 1_000], 500.0))
    for alone, shared in zip(estimate_all(jobs, processes=1), estimate_all(jobs, processes=2), strict=True):
        assert shared.signal_to_noise == pytest.approx(alone.signal_to_noise, rel=1e-3)
        assert shared.shares == pytest.approx(alone.shares, abs=1e-3)
        assert shared.figures.keys() == alone.figures.keys()


class Fatal(Metric):
    """A metric that ends whatever process it is sent to."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def test_where_another_process_is_killed_the_figures_are_the_same() -> None:
    fatal = Fatal(**{field.name: getattr(TIME, field.name) for field in fields(TIME)})
    drawn = noisy(TIME, histogram(TIME, log_normal()), 40)
    assert estimate_all([(fatal, *drawn)], processes=2) == [estimate(TIME, *drawn)]


def test_a_share_has_its_exact_interval() -> None:
    figure = estimate(RATE, [97_000, 3_000], 1000.0).figures["share"]
    assert figure is not None
    assert figure.value == pytest.approx(0.03)
    for end in (figure.low, figure.high):  # by Fieller: where the truth is 1.96 deviations from what is seen
        assert abs(97_000 * end - 3_000 * (1 - end)) == pytest.approx(
            1.96 * 1000 * math.hypot(end, 1 - end), rel=1e-4
        )
    assert figure.low < 0.03 < figure.high


def test_a_share_of_nothing_at_all_reaches_from_zero_upwards() -> None:
    figure = estimate(RATE, [100_000, -2_500], 1000.0).figures["share"]
    assert figure is not None
    assert (figure.value, figure.low) == (0.0, 0.0)
    assert 0.01 < figure.high < 0.03


def test_a_share_that_noise_hides_is_none() -> None:
    assert estimate(RATE, [9_000, 300], 1000.0).figures == {"share": None}
    assert estimate(RATE, [-500, 300], 1000.0) == Estimate((), {"share": None}, 0.0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_intervals_of_shares_hold_the_truth_in_95_of_100_cases(share: float) -> None:
    rng = np.random.default_rng(8)
    held = given = 0
    for _ in range(3000):
        drawn = np.array([1 - share, share]) * 1e5 + rng.normal(0, 2000, 2)
        figure = estimate(RATE, np.round(drawn).astype(int).tolist(), 2000.0).figures["share"]
        if figure is not None:
            given += 1
            held += figure.low <= share <= figure.high
    assert given > 2900
    assert 0.935 <= held / given <= (0.985 if share < 0.02 else 0.965)
