"""The arithmetic of the metrics, in numbers that can be checked by eye."""

import dataclasses

import pytest

from metavox.outputs import RequestMetrics

METRICS = RequestMetrics(
    arrival_time_ns=1_700_000_000_000_000_000,
    arrival_time=100.0,
    first_scheduled_time=100.5,
    first_token_time=102.0,
    finished_time=106.0,
    num_prompt_tokens=7,
    num_generation_tokens=5,
    max_concurrency=2,
    device_memory_bytes=1,
)


def test_each_metric_is_the_difference_it_names():
    assert METRICS.time_in_queue == 0.5
    assert METRICS.time_to_first_token == 2.0
    assert METRICS.request_duration == 6.0


def test_four_of_five_tokens_came_after_the_first():
    assert METRICS.time_per_output_token == 1.0
    assert METRICS.output_tokens_per_second == 1.0
    two = dataclasses.replace(METRICS, num_generation_tokens=2)
    assert (two.time_per_output_token, two.output_tokens_per_second) == (4.0, 0.25)


@pytest.mark.parametrize("tokens", [0, 1])
def test_fewer_than_two_tokens_have_no_rate(tokens):
    few = dataclasses.replace(METRICS, num_generation_tokens=tokens)
    assert (few.time_per_output_token, few.output_tokens_per_second) == (None, None)
