"""The sampler's filters, its inverse CDF, and the distribution that comes out: of the twins, and of the C."""

import importlib
import os
import platform

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from metavox_kernels import dispatch
from metavox_kernels.native import build
from metavox_kernels.native import sample as native

naive = importlib.import_module("metavox_kernels.sample")  # the package has a function of this name
OPS = ("greedy", "sample", "mask_logits", "penalize", "token_logprobs")
LOGITS = torch.tensor([[1.0, 3.0, 0.0, 2.0, -1.0]])
INF = float("inf")


class Twins:
    """The naive ops by the names of the others."""

    greedy = staticmethod(naive.greedy_naive)
    sample = staticmethod(naive.sample_naive)
    mask_logits = staticmethod(naive.mask_logits_naive)
    penalize = staticmethod(naive.penalize_naive)
    token_logprobs = staticmethod(naive.token_logprobs_naive)


needs_native = pytest.mark.skipif(build.load("sample") is None, reason=build.reason("sample") or "")
VERSIONS = pytest.mark.parametrize(
    "ops", [pytest.param(Twins, id="twin"), pytest.param(native, marks=needs_native, id="c")]
)


def column(value, rows, dtype):
    return torch.as_tensor(value, dtype=dtype).expand(rows)


def settings_of(rows, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    return (
        column(temperature, rows, torch.float32),
        column(top_k, rows, torch.int64),
        column(top_p, rows, torch.float64),
        column(min_p, rows, torch.float32),
    )


def choose(ops, logits, uniform=0.5, **params):
    return ops.sample(logits, *settings_of(len(logits), **params), column(uniform, len(logits), torch.float64))


def kept(logits, **params):
    """The distribution after the filters."""
    weights = naive.kept_weights_naive(logits, *settings_of(len(logits), **params))
    return weights / weights.sum(-1, keepdim=True)


def test_the_seam_takes_the_versions_that_choose_for_themselves():
    assert all(getattr(dispatch, name) is getattr(native, name) for name in OPS)


@VERSIONS
def test_temperature_zero_takes_the_largest_and_the_first_of_equals(ops):
    logits = torch.tensor([[0.0, 5.0, 5.0], [7.0, 1.0, 2.0]])
    assert choose(ops, logits, temperature=0.0).tolist() == ops.greedy(logits).tolist() == [1, 0]


@VERSIONS
def test_the_first_of_equals_is_found_across_blocks_and_at_the_very_end(ops):
    for vocab in (1, 15, 16, 127, 128, 129, 1000):
        logits = torch.zeros(vocab, vocab) + 2 * torch.eye(vocab)
        assert ops.greedy(logits).tolist() == list(range(vocab))
        assert ops.greedy(torch.zeros(1, vocab)).tolist() == [0]


@VERSIONS
def test_greedy_and_random_rows_do_not_disturb_each_other(ops):
    temperature, uniform = torch.tensor([0.0, 1.0]), torch.tensor([0.999, 0.999])
    assert choose(ops, LOGITS.repeat(2, 1), uniform, temperature=temperature).tolist() == [1, 4]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_keeps_exactly_the_k_likeliest(k):
    probs = kept(LOGITS, top_k=k)[0]
    assert set(probs.nonzero().flatten().tolist()) == set([1, 3, 0, 2, 4][:k])


@pytest.mark.parametrize("everything", [0, -1, 99])
def test_top_k_of_zero_minus_one_or_more_than_the_vocabulary_keeps_all(everything):
    torch.testing.assert_close(kept(LOGITS, top_k=everything).float(), LOGITS.softmax(-1))


def test_of_equal_logits_top_k_keeps_the_lower_ids():
    assert kept(torch.zeros(1, 6), top_k=3)[0].nonzero().flatten().tolist() == [0, 1, 2]


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for top_p, number in [(0.01, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.99, 4), (1.0, 4)]:
        assert int((kept(logits, top_p=top_p) > 0).sum()) == number, top_p


def test_a_set_that_reaches_top_p_exactly_is_large_enough():
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    for top_p, number in [(0.5, 1), (0.75, 2), (1.0, 3)]:
        assert int((kept(logits, top_p=top_p) > 0).sum()) == number, top_p


@VERSIONS
@pytest.mark.parametrize("top_p", [5e-324, 1e-50, 1e-8])
def test_the_likeliest_token_stays_however_small_top_p_is(ops, top_p):
    assert choose(ops, LOGITS, uniform=0.999, top_p=top_p).tolist() == [1]


def test_top_p_applies_to_what_top_k_and_min_p_left():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # Of the two that remain, the first has 4/7 = 0.571: enough for 0.56, though 0.4 would not be.
    assert kept(logits, top_k=2, top_p=0.56)[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert kept(logits, min_p=0.7, top_p=0.56)[0].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_min_p_is_a_part_of_the_likeliest_ones_probability_after_temperature():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert int((kept(logits, min_p=0.45) > 0).sum()) == 3
    assert int((kept(logits, min_p=0.45, temperature=0.5) > 0).sum()) == 2  # squares: 16, 9, 4, 1
    assert int((kept(logits, min_p=1.0) > 0).sum()) == 1


@pytest.mark.parametrize(
    ("params", "warper"),
    [
        ({"top_k": 7}, TopKLogitsWarper(7)),
        ({"top_p": 0.83}, TopPLogitsWarper(0.83)),
        ({"min_p": 0.07}, MinPLogitsWarper(0.07)),
    ],
)
def test_each_filter_leaves_what_transformers_leaves(params, warper):
    logits = torch.randn(20, 300, generator=torch.Generator().manual_seed(1)) * 3
    expected = warper(None, logits).softmax(-1)
    torch.testing.assert_close(kept(logits, **params).float(), expected, atol=1e-6, rtol=1e-5)


@VERSIONS
@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.75, 3), (1 - 2**-53, 3), (1.0, 3)]
)
def test_a_number_on_an_edge_belongs_to_the_token_above_and_one_that_rounds_to_1_to_the_last(ops, uniform, token):
    assert choose(ops, torch.zeros(1, 4), uniform=uniform).tolist() == [token]
    banned = torch.cat((torch.zeros(1, 4), torch.full((1, 400), -INF)), 1)
    assert choose(ops, banned, uniform=uniform).tolist() == [token]


@VERSIONS
def test_the_cumulative_distribution_is_in_the_order_of_ids(ops):
    middles = (torch.arange(100) + 0.5) / 100
    assert choose(ops, torch.zeros(100, 100), uniform=middles).tolist() == list(range(100))


@VERSIONS
@settings(max_examples=60)
@given(
    logits=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    top_k=st.integers(-1, 50),
    top_p=st.floats(0.001, 1.0),
    min_p=st.floats(0, 1, width=32),
    temperature=st.floats(1e-5, 100.0),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_the_choice_is_always_a_token_that_the_filters_keep(ops, logits, top_k, top_p, min_p, temperature, uniform):
    params = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    rows = torch.tensor([logits])
    assert kept(rows, **params)[0, int(choose(ops, rows, uniform=uniform, **params))] > 0


@VERSIONS
@pytest.mark.parametrize("params", [{}, {"temperature": 0.6, "top_p": 0.9}, {"top_k": 30, "min_p": 0.02}])
def test_the_frequencies_are_the_probabilities(ops, params):
    draws, vocab = 40_000, 60
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(1, vocab, generator=random) * 1.5
    uniform = torch.rand(draws, generator=random, dtype=torch.float64)
    tokens = choose(ops, logits.repeat(draws, 1), uniform=uniform, **params)
    expected = kept(logits, **params)[0] * draws
    observed = torch.bincount(tokens, minlength=vocab)
    possible = expected > 0
    assert int(observed[~possible].sum()) == 0
    chi_square = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    freedom = int(possible.sum()) - 1
    assert freedom > 5
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


@VERSIONS
def test_a_row_draws_the_same_alone_in_a_batch_and_with_any_number_of_threads(ops, threads):
    torch.manual_seed(0)
    logits, uniform = torch.randn(16, 50_000) * 3, torch.rand(16, dtype=torch.float64)
    params = {"temperature": 0.8, "top_k": 400, "top_p": 0.9}
    together = {
        number: threads(number, lambda: choose(ops, logits, uniform, **params).tolist()) for number in (1, 2, 3)
    }
    alone = [int(choose(ops, logits[i : i + 1], uniform[i], **params)) for i in range(16)]
    assert together == {1: alone, 2: alone, 3: alone}
    assert len(set(alone)) > 8


@pytest.fixture
def threads():
    before = torch.get_num_threads()

    def run(number, work):
        torch.set_num_threads(number)
        return work()

    yield run
    torch.set_num_threads(before)


@VERSIONS
@pytest.mark.parametrize("bad", [[float("nan")], [INF], [-INF] * 300])
def test_a_row_that_is_not_finite_fails_alone(ops, bad):
    logits = torch.randn(3, 300)
    best = logits.argmax(-1).tolist()
    logits[1, -len(bad) :] = torch.tensor(bad)
    assert ops.greedy(logits).tolist() == [best[0], -1, best[2]]
    assert choose(ops, logits, top_k=1).tolist() == [best[0], -1, best[2]]


@VERSIONS
def test_a_forbidden_token_is_never_drawn(ops):
    logits = LOGITS.repeat(50, 1)
    logits[:, 1] = -INF
    assert 1 not in choose(ops, logits, uniform=torch.linspace(0, 0.9999, 50)).tolist()


def test_weights_are_the_exponentials_of_float64_within_a_ten_millionth():
    exponents = torch.linspace(-60, 0, 100_001).unsqueeze(0)
    weights = naive.weights_naive(exponents, torch.ones(1))
    torch.testing.assert_close(weights.double(), exponents.double().exp(), rtol=1e-7, atol=0)
    assert bool((weights.diff() >= 0).all())


@VERSIONS
def test_log_probabilities_are_those_of_the_log_softmax(ops):
    logits = torch.randn(8, 5000, generator=torch.Generator().manual_seed(3)) * 4
    tokens = torch.tensor([0, 17, 4999, 5, 6, 7, 8, int(logits[7].argmax())])
    logprobs, ranks, top_ids, top_logprobs = ops.token_logprobs(logits, tokens, 20)
    expected = logits.double().log_softmax(-1)
    torch.testing.assert_close(logprobs.double(), expected[torch.arange(8), tokens], atol=1e-5, rtol=1e-6)
    values, ids = expected.topk(20)
    assert torch.equal(top_ids, ids)
    torch.testing.assert_close(top_logprobs.double(), values, atol=1e-5, rtol=1e-6)
    assert torch.equal(ranks, (expected >= expected[torch.arange(8), tokens].unsqueeze(1)).sum(-1))
    assert ranks[7] == 1


@VERSIONS
def test_of_equally_likely_tokens_the_lower_ids_are_on_top_and_share_the_last_rank(ops):
    logprobs, ranks, top_ids, _ = ops.token_logprobs(torch.zeros(2, 700), torch.tensor([3, -1]), 4)
    assert top_ids.tolist() == [[0, 1, 2, 3]] * 2
    assert ranks[0] == 700
    torch.testing.assert_close(logprobs[0], torch.tensor(1 / 700).log())


@VERSIONS
def test_a_mask_leaves_what_its_bits_allow(ops):
    logits = torch.randn(3, 70)
    before = logits.clone()
    allowed = torch.tensor([[-1, 0, 1], [0b101, -(2**31), 0]], dtype=torch.int32)
    ops.mask_logits(logits, torch.tensor([2, 0]), allowed)
    assert (logits[2] > -INF).nonzero().flatten().tolist() == [*range(32), 64]
    assert (logits[0] > -INF).nonzero().flatten().tolist() == [0, 2, 63]
    assert torch.equal(logits[1], before[1])
    assert torch.equal(logits[2, :32], before[2, :32])


@VERSIONS
def test_penalties_are_those_of_the_formula_and_of_transformers(ops):
    logits = torch.randn(2, 300) * 3
    prompt, output = [3, 7, 7, 299], [7, 100, 100, 100]
    history = torch.zeros(4, 300, dtype=torch.int32)
    history[2, prompt] = 1
    for token in output:
        history[2, token] += 2
    expected = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([prompt + output]), logits[1:].clone())[0]
    expected[7] -= 0.25 + 0.5
    expected[100] -= 3 * 0.25 + 0.5
    untouched = logits[0].clone()
    factors = [torch.tensor([value]) for value in (1.3, 0.5, 0.25)]
    ops.penalize(logits, torch.tensor([1]), history, torch.tensor([2]), *factors)
    torch.testing.assert_close(logits[1], expected)
    assert torch.equal(logits[0], untouched)


def random_case(seed):
    """Logits and settings of every kind, for which the C must do bit for bit what the twin does."""
    random = torch.Generator().manual_seed(seed)
    pick = lambda *values: values[int(torch.randint(len(values), (1,), generator=random))]  # noqa: E731
    rows, vocab = pick(1, 3), pick(1, 2, 15, 17, 128, 129, 1000, 9000, 40_000)
    logits = torch.randn(rows, vocab, generator=random) * pick(0, 0.01, 1, 5, 50)
    if pick(0, 0, 1):
        logits = logits.round()
    if pick(0, 0, 1):
        logits[torch.rand(logits.shape, generator=random) < 0.5] = -INF
    per_row = lambda dtype, *values: torch.tensor([pick(*values) for _ in range(rows)], dtype=dtype)  # noqa: E731
    numbers = torch.rand(3, generator=random, dtype=torch.float64).tolist()
    columns = (
        per_row(torch.float32, 0, 1, 0.7, 1e-6, 30, 1e6),
        per_row(torch.int64, 0, -1, 1, 2, 50, 1000, 3000, 30_000),
        per_row(torch.float64, 1, 0.9, 0.5, 1e-9, 0.999),
        per_row(torch.float32, 0, 0, 0.05, 0.5, 1),
        per_row(torch.float64, 0, *numbers, 1 - 2**-53, 1),
    )
    return logits, columns, random


def assert_same_bits(seed):
    logits, columns, random = random_case(seed)
    rows, vocab = logits.shape
    assert torch.equal(native.sample(logits, *columns), naive.sample_naive(logits, *columns))
    assert torch.equal(native.greedy(logits), naive.greedy_naive(logits))
    if bool((logits > -INF).any(-1).all()):
        tokens = torch.randint(vocab, (rows,), generator=random)
        mine, twins = (ops.token_logprobs(logits, tokens, min(5, vocab)) for ops in (native, Twins))
        assert all(torch.equal(*pair) for pair in zip(mine, twins, strict=True))
    words = torch.randint(-(2**31), 2**31, (rows, -(-vocab // 32)), generator=random).int()
    history = torch.randint(-8, 5, (5, vocab), generator=random).clamp_min(0).int()
    order, slots = torch.randperm(rows, generator=random), torch.randint(5, (rows,), generator=random)
    factors = [torch.rand(rows, generator=random) + 0.5 for _ in range(3)]
    changed = []
    for ops in (native, Twins):
        copy = logits.clone()
        ops.penalize(copy, order, history, slots, *factors)
        ops.mask_logits(copy, order, words)
        changed.append(copy)
    assert torch.equal(*changed)


@needs_native
@pytest.mark.parametrize("part", range(4))
def test_the_c_chooses_bit_for_bit_what_the_twin_chooses(part):
    for seed in range(part * 40, part * 40 + 40):
        assert_same_bits(seed)


@needs_native
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the widths are x86's")
@pytest.mark.parametrize("machine", ["x86-64-v3", "x86-64-v2", "x86-64"])
def test_the_c_does_the_same_with_vectors_of_every_width(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MACHINE_FLAGS", (f"-march={machine}",))
    narrow = build.open_library("sample", os.environ, build.SOURCES, tmp_path)
    monkeypatch.setattr(native, "load", lambda name: narrow)
    native._loaded.cache_clear()
    try:
        assert native._loaded() is narrow
        for seed in range(1000, 1030):
            assert_same_bits(seed)
    finally:
        native._loaded.cache_clear()


def test_without_a_compiler_the_twins_do_it(monkeypatch):
    monkeypatch.setattr(native, "load", lambda name: None)
    native._loaded.cache_clear()
    try:
        assert_same_bits(7)
    finally:
        native._loaded.cache_clear()


@needs_native
def test_what_does_not_fit_is_refused_before_the_c_reads_it():
    logits, one = torch.zeros(2, 40), torch.zeros(1)
    with pytest.raises(ValueError, match="a column for 2 rows"):
        native.sample(logits, one, *settings_of(2)[1:], one)
    with pytest.raises(IndexError, match="places are from 0 to 39"):
        native.token_logprobs(logits, torch.tensor([0, 40]), 1)
    with pytest.raises(ValueError, match="41 likeliest of 40"):
        native.token_logprobs(logits, torch.tensor([0, 1]), 41)
    with pytest.raises(ValueError, match="1 masks for 40 tokens"):
        native.mask_logits(logits, torch.tensor([0]), torch.zeros(1, 1, dtype=torch.int32))
    with pytest.raises(ValueError, match="a history of 39 tokens"):
        native.penalize(
            logits, torch.tensor([0]), torch.zeros(1, 39, dtype=torch.int32), torch.tensor([0]), *[one] * 3
        )
