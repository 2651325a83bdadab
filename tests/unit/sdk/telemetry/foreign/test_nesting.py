"""Each request once, though several instrumentations tell of it."""

from __future__ import annotations

import threading

import pytest

from metavox.telemetry.foreign import nesting as module
from metavox.telemetry.foreign.nesting import DEEPEST, MOST, Nesting


@pytest.fixture
def nesting() -> Nesting:
    """An agent (1) that calls a model (2), through a client's span (3), whose own span is (4)."""
    nesting = Nesting()
    for span_id, parent_id in ((1, None), (2, 1), (3, 2), (4, 3)):
        nesting.began(span_id, parent_id)
    return nesting


def test_the_innermost_span_that_tells_of_a_request_is_counted_and_those_around_it_are_not(nesting: Nesting):
    assert nesting.claim(4, 3, "vllm", "one")
    assert not nesting.claim(2, 1, "vllm", "one")
    assert not nesting.claim(1, None, "vllm", "one")


def test_a_span_that_ends_after_the_one_around_it_is_not_counted_again(nesting: Nesting):
    assert nesting.claim(2, 1, "vllm", "one")
    assert not nesting.claim(4, 3, "vllm", "one")


def test_two_requests_of_one_agent_are_two(nesting: Nesting):
    nesting.began(5, 1)

    assert nesting.claim(2, 1, "vllm", "one")
    assert nesting.claim(5, 1, "vllm", "one")


def test_a_span_around_a_request_that_is_counted_elsewhere_is_not_counted(nesting: Nesting):
    nesting.counted_elsewhere(4, 3)

    assert not nesting.claim(2, 1, "vllm", "one")


def test_of_two_tracers_that_tell_of_one_engine_the_first_is_heard(nesting: Nesting):
    assert nesting.claim(2, None, "vllm", "one")
    assert not nesting.claim(7, None, "vllm", "another")
    assert nesting.claim(8, None, "vllm", "one")
    assert nesting.claim(9, None, "ollama", "another")


def test_a_span_that_says_to_be_its_own_parent_ends_the_search():
    nesting = Nesting()
    nesting.began(1, 2)
    nesting.began(2, 1)

    assert nesting.claim(1, 2, "vllm", "one")


def test_what_is_remembered_is_bounded(nesting: Nesting):
    for span_id in range(10, 2 * MOST):
        nesting.began(span_id, span_id - 1)
        nesting.claim(span_id, None, "vllm", "one")

    assert len(nesting._parents) <= MOST
    assert len(nesting._counted) <= MOST


def test_spans_that_say_they_are_around_one_another_are_looked_at_a_bounded_number_of_times():
    nesting = Nesting()
    nesting.began(1, 2)
    nesting.began(2, 1)

    assert nesting.claim(1, 2, "vllm", "one")
    assert not nesting.claim(2, 1, "vllm", "one")


def test_of_spans_around_a_request_the_innermost_are_not_counted_again():
    nesting = Nesting()
    for span in range(2, DEEPEST + 3):
        nesting.began(span - 1, span)

    assert nesting.claim(1, 2, "vllm", "one")
    assert not nesting.claim(DEEPEST + 1, DEEPEST + 2, "vllm", "one")
    assert nesting.claim(DEEPEST + 2, None, "vllm", "one")


def test_a_span_that_a_finalizer_ends_in_the_middle_of_another_ones_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
):
    nesting, claims = Nesting(), []
    remember = module._remember

    def interrupted(known: dict[int, int], key: int, value: int) -> None:
        if not claims:
            claims.append(False)
            claims.append(nesting.claim(7, None, "vllm", "one"))
        remember(known, key, value)

    monkeypatch.setattr(module, "_remember", interrupted)
    thread = threading.Thread(target=nesting.began, args=(2, 1), daemon=True)
    thread.start()
    thread.join(20)

    assert claims == [False, True]
    assert not thread.is_alive()
