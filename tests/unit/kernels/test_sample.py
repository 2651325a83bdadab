"""The sampler's filters, its inverse CDF, and the distribution that comes out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox_kernels import sample
from metavox_kernels.sample import filtered_probs_naive

LOGITS = torch.tensor([[1.0, 3.0, 0.0, 2.0, -1.0]])


def choose(logits, temperature=1.0, top_k=0, top_p=1.0, uniform=0.5):
    rows = len(logits)
    column = lambda value, dtype: torch.tensor(value, dtype=dtype).expand(rows)  # noqa: E731
    uniform = torch.as_tensor(uniform, dtype=torch.float32).expand(rows)
    return sample(
        logits,
        column(temperature, torch.float32),
        column(top_k, torch.int64),
        column(top_p, torch.float32),
        uniform,
    )


def test_temperature_zero_takes_the_largest_and_the_first_of_equals():
    assert choose(torch.tensor([[0.0, 5.0, 5.0], [7.0, 1.0, 2.0]]), temperature=0.0).tolist() == [1, 0]


def test_greedy_and_random_rows_do_not_disturb_each_other():
    logits = LOGITS.repeat(2, 1)
    rest = torch.tensor([0, 0]), torch.tensor([1.0, 1.0]), torch.tensor([0.999, 0.999])
    assert sample(logits, torch.tensor([0.0, 1.0]), *rest).tolist() == [1, 4]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_keeps_exactly_the_k_likeliest(k):
    probs = filtered_probs_naive(LOGITS, torch.tensor([k]), torch.tensor([1.0]))[0]
    kept = set(probs.nonzero().flatten().tolist())
    assert kept == set([1, 3, 0, 2, 4][:k])
    torch.testing.assert_close(probs.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("everything", [0, -1, 99])
def test_top_k_of_zero_minus_one_or_more_than_the_vocabulary_keeps_all(everything):
    probs = filtered_probs_naive(LOGITS, torch.tensor([everything]), torch.tensor([1.0]))
    torch.testing.assert_close(probs, LOGITS.softmax(-1))


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for top_p, kept in [(0.01, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.99, 4), (1.0, 4)]:
        probs = filtered_probs_naive(logits, torch.tensor([0]), torch.tensor([top_p]))
        assert int((probs > 0).sum()) == kept, top_p


@pytest.mark.parametrize("top_p", [1e-50, 1e-45, 1e-8])
def test_the_likeliest_token_stays_however_small_top_p_is(top_p):
    assert choose(LOGITS, top_p=top_p, uniform=0.999).tolist() == [1]


def test_a_set_that_reaches_top_p_exactly_is_large_enough():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    for top_p, kept in [(0.5, 1), (0.75, 2), (1.0, 3)]:
        probs = filtered_probs_naive(logits, torch.tensor([0]), torch.tensor([top_p]))
        assert int((probs > 0).sum()) == kept, top_p


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1 - 2**-24, 3), (1.0, 3)]
)
def test_a_number_on_an_edge_belongs_to_the_token_above_and_one_that_rounds_to_1_to_the_last(uniform, token):
    assert choose(torch.zeros(1, 4), uniform=uniform).tolist() == [token]


def test_equal_logits_keep_the_order_of_their_ids():
    # An unstable sort still keeps the order of 16 and fewer.
    middles = (torch.arange(100) + 0.5) / 100
    assert choose(torch.zeros(100, 100), uniform=middles).tolist() == list(range(100))


def test_top_p_applies_to_what_top_k_left():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # Of the two that remain, the first has 4/7 = 0.571: enough for 0.56, though 0.4 would not be.
    probs = filtered_probs_naive(logits, torch.tensor([2]), torch.tensor([0.56]))
    assert probs[0].tolist() == [1.0, 0.0, 0.0, 0.0]


@settings(max_examples=60)
@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    top_k=st.integers(-1, 50),
    top_p=st.floats(0.001, 1.0),
    temperature=st.floats(1e-5, 100.0),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_the_choice_is_always_a_token_that_the_filters_keep(logits, top_k, top_p, temperature, uniform):
    rows = torch.tensor([logits])
    uniform = min(uniform, 1 - 2**-24)
    token = choose(rows, temperature, top_k, top_p, uniform)
    kept = filtered_probs_naive(
        rows / torch.tensor(temperature), torch.tensor([top_k]), torch.tensor([top_p], dtype=torch.float32)
    )
    assert kept[0, token] > 0


def test_the_frequencies_are_the_probabilities():
    draws = 40_000
    uniform = torch.rand(draws, generator=torch.Generator().manual_seed(0))
    tokens = choose(LOGITS.expand(draws, -1), temperature=1.5, uniform=uniform)
    observed = torch.bincount(tokens, minlength=5) / draws
    torch.testing.assert_close(observed, (LOGITS[0] / 1.5).softmax(-1), atol=0.01, rtol=0)


def test_a_row_draws_the_same_alone_and_in_a_batch():
    torch.manual_seed(0)
    logits, uniform = torch.randn(16, 300), torch.rand(16)
    together = choose(logits, 0.8, 40, 0.9, uniform).tolist()
    alone = [int(choose(logits[i : i + 1], 0.8, 40, 0.9, uniform[i])) for i in range(16)]
    assert together == alone


def test_a_forbidden_token_is_never_drawn():
    logits = LOGITS.repeat(50, 1)
    logits[:, 1] = float("-inf")
    assert 1 not in choose(logits, uniform=torch.linspace(0, 0.9999, 50)).tolist()
