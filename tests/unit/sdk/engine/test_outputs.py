"""The arithmetic of the metrics, in numbers that can be checked by eye."""

from __future__ import annotations

import dataclasses

import pytest

from metavox.outputs import RequestMetrics, RequestOutput

METRICS = RequestMetrics(
    arrival_time_ns=1_700_000_000_000_000_000,
    arrival_time=100.0,
    first_scheduled_time=100.5,
    first_token_time=102.0,
    finished_time=106.0,
    token_times=((102.0, 102.5, 104.0, 105.0, 106.0),),
    num_prompt_tokens=7,
    num_cached_tokens=4,
    num_generation_tokens=5,
    max_concurrency=2,
    device_memory_bytes=1,
)


def test_each_metric_is_the_difference_it_names():
    assert METRICS.time_in_queue == 0.5
    assert METRICS.prefill_time == 1.5
    assert METRICS.time_to_first_token == 2.0
    assert METRICS.request_duration == 6.0


def test_four_of_five_tokens_came_after_the_first():
    assert METRICS.inter_token_latencies == (0.5, 1.5, 1.0, 1.0)
    assert METRICS.time_per_output_token == 1.0
    assert METRICS.output_tokens_per_second == 1.0


def test_completions_side_by_side_each_count_from_their_own_first_token():
    times = ((102.0, 103.0), (103.0, 106.0), (104.0,), ())
    several = dataclasses.replace(METRICS, token_times=times, num_generation_tokens=5)
    assert several.inter_token_latencies == (1.0, 3.0)
    assert (several.time_per_output_token, several.output_tokens_per_second) == (2.0, 0.5)


@pytest.mark.parametrize("times", [(), ((),), ((102.0,),), ((102.0,), (103.0,))])
def test_fewer_than_two_tokens_have_no_rate(times):
    few = dataclasses.replace(METRICS, token_times=times, num_generation_tokens=len(times))
    assert (few.time_per_output_token, few.output_tokens_per_second) == (None, None)
    assert few.inter_token_latencies == ()


def test_an_output_that_is_taken_for_a_list_says_what_to_write():
    output = RequestOutput("0", None, [1], [], finished=True, metrics=METRICS)
    with pytest.raises(TypeError, match=r"Leave out the \[0\] or the loop"):
        output[0]
    with pytest.raises(TypeError, match=r"give \[prompt\]"):
        list(output)
