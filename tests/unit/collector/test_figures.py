from __future__ import annotations

import random

import pytest

from metavox_collector.dataset.columns import LEAST_SIGNAL
from metavox_collector.dataset.figures import rows_of
from metavox_collector.store import LabelledRelease
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.schema import SCHEMA
from tests.spans import WEEK

SCALE = 1000.0
KEY = ("CPU x86-64 AVX-512", "metavox/tiny", "bfloat16", "<=1")
FIGURES = ("p50", "p75", "p90", "p95", "p99", "mean", "share")


def rows(histograms):
    cell = ReleasedCell(KEY, 300, histograms)
    table = ReleasedTable("performance", 1000, 40.0, SCALE, 200, (cell,))
    release = Release(WEEK, "publish", 1, 10**7, (table,))
    return {row["metric"]: row for row in rows_of(LabelledRelease(release, False), table, SCHEMA)}


def noise(chance, buckets):
    return tuple(round(chance.gauss(0, SCALE)) for _ in range(buckets))


def test_noise_alone_gives_no_figure_but_once_in_hundreds():
    chance = random.Random(3)
    given = 0
    for _ in range(100):
        made = rows({metric.name: noise(chance, metric.buckets) for metric in SCHEMA.metrics})
        given += sum(any(row[name] is not None for name in FIGURES) for row in made.values())
    assert given <= 3


def test_a_histogram_is_published_also_when_no_figure_is():
    made = rows({metric.name: (0,) * metric.buckets for metric in SCHEMA.metrics})
    assert all(len(row["histogram"]) == SCHEMA.metric[name].buckets for name, row in made.items())
    assert all(row["signal_to_noise"] < min(LEAST_SIGNAL.values()) for row in made.values())


def test_a_share_needs_a_clearer_signal_than_a_quantile():
    def share_at(signal: float) -> object:
        histograms = {metric.name: (0,) * metric.buckets for metric in SCHEMA.metrics}
        total = round(signal * SCALE * 2**0.5)
        return rows({**histograms, "error_rate": (total, 0)})["error_rate"]["share"]

    assert share_at(LEAST_SIGNAL["share"] - 0.1) is None
    assert share_at(LEAST_SIGNAL["share"] + 0.1) == 0


@pytest.mark.parametrize("signal", [5, 7, 9, 11, 13, 25])
def test_each_figure_is_given_from_its_own_signal_on(signal):
    histograms = {metric.name: [0] * metric.buckets for metric in SCHEMA.metrics}
    histograms["request_duration"][30] = round(signal * SCALE)
    row = rows({name: tuple(values) for name, values in histograms.items()})["request_duration"]
    assert row["signal_to_noise"] == pytest.approx(signal)
    for name in set(FIGURES) - {"share"}:
        assert (row[name] is not None) == (signal >= LEAST_SIGNAL[name]), name


def test_a_clear_signal_gives_every_figure_near_the_truth():
    chance = random.Random(4)
    histograms = {metric.name: list(noise(chance, metric.buckets)) for metric in SCHEMA.metrics}
    for values in histograms.values():
        values[len(values) // 2] += 60_000
    made = rows({name: tuple(values) for name, values in histograms.items()})
    for metric in SCHEMA.metrics:
        row = made[metric.name]
        assert row["signal_to_noise"] > max(LEAST_SIGNAL.values())
        if metric.is_rate:
            assert row["share"] == pytest.approx(1, abs=0.05)
            assert row["p50"] is None
        else:
            low, high = metric.edges[31], metric.edges[32]
            assert low * 0.8 <= row["p50"] <= high * 1.2
            assert row["share"] is None
            assert row["p50"] <= row["p90"] <= row["p99"]
