"""The sampler over batches: each row as if it were alone, in the documented order, also ahead of the device."""

import copy
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metavox import SamplingParams
from metavox.engine.chosen import Sampled, TokenLogprobs, exact_device, prompt_logprobs
from metavox.engine.constraints import check_params
from metavox.engine.matchers import Matcher
from metavox.engine.sampler import Sampler
from metavox.engine.sampling import GREEDY, Row

VOCAB = 100
EOS = frozenset({1})
CPU = torch.device("cpu")


@dataclass(eq=False)
class Running:
    """A `Sampleable`."""

    params: SamplingParams
    slot: int = 0
    seed: int = 7
    prompt: list[int] = field(default_factory=lambda: [2, 3, 3])
    output: list[int] = field(default_factory=list)
    end_token_ids: frozenset[int] = EOS

    def __post_init__(self):
        constraint = check_params(self.params, VOCAB, None, EOS)
        self.grammar: Matcher | None = constraint.matcher() if constraint else None

    @property
    def prompt_token_ids(self):
        return np.array(self.prompt, dtype=np.int64)

    @property
    def output_token_ids(self):
        return np.array(self.output, dtype=np.int64)

    def append(self, token):
        self.output.append(token)
        if self.grammar:
            self.grammar.accept(token)


def running(**params) -> Running:
    own = {name: params.pop(name) for name in ("slot", "seed", "prompt") if name in params}
    return Running(SamplingParams(**{"max_tokens": 1000, **params}), **own)


def logits_of(seed, rows=1):
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * 2


def new_sampler():
    return Sampler(VOCAB, 8, CPU)


def one(sequence, logits, sampler=None) -> Sampled:
    sampler = sampler or new_sampler()
    rows = [Row(sequence, len(sequence.output))]
    return sampler.sample(logits.clone(), sampler.prepare(rows)).to_host()


def token(sequence, logits, sampler=None) -> int:
    return int(one(sequence, logits, sampler).token_ids[0])


def run(sequence, steps, sampler=None):
    """`steps` tokens of logits that depend on the place alone."""
    sampler = sampler or new_sampler()
    for _ in range(steps):
        sequence.append(token(sequence, logits_of(len(sequence.output)), sampler))
    return sequence.output


MIXED = [
    {"temperature": 0},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.9},
    {"min_p": 0.05, "repetition_penalty": 1.4},
    {"temperature": 0, "presence_penalty": 2, "frequency_penalty": 1},
    {"logit_bias": {5: 4, 6: -100}, "min_tokens": 5},
    {"allowed_token_ids": range(40, 60), "logprobs": 3},
    {"bad_words": [[7], [8, 9], [40, 41]], "temperature": 2},
    {"temperature": 1.5, "frequency_penalty": 0.5, "logprobs": 0, "bad_words": [[3]]},
]


def test_a_batch_of_plain_greedy_rows_needs_nothing_prepared():
    sampler = new_sampler()
    sequences = [running(temperature=0, min_tokens=2, top_p=0.5, slot=slot) for slot in range(3)]
    assert sampler.prepare([Row(sequence, 2) for sequence in sequences]) is GREEDY
    assert sampler.prepare([Row(sequence, 1) for sequence in sequences]) is not GREEDY
    logits = logits_of(0, rows=3)
    assert torch.equal(sampler.sample(logits, GREEDY).token_ids, logits.argmax(-1))


def test_a_step_that_chooses_nothing_brings_nothing():
    sampler = new_sampler()
    assert sampler.sample(torch.empty(0, VOCAB), sampler.prepare([])).token_ids.tolist() == []


def test_each_sequence_gets_the_same_tokens_alone_and_in_a_batch():
    alone = [run(running(**params, seed=place), 12) for place, params in enumerate(MIXED)]
    sampler = new_sampler()
    together = [running(**params, seed=place, slot=place) for place, params in enumerate(MIXED)]
    for step in range(12):
        batch = sampler.prepare([Row(sequence, step) for sequence in together])
        tokens = sampler.sample(logits_of(step).repeat(len(together), 1), batch).token_ids.tolist()
        for sequence, chosen in zip(together, tokens, strict=True):
            sequence.append(chosen)
    assert [sequence.output for sequence in together] == alone


def test_steps_may_be_prepared_before_the_tokens_of_the_last_one_are_known():
    ahead = [place for place, params in enumerate(MIXED) if "bad_words" not in params]
    known = [run(running(**MIXED[place], seed=place), 12) for place in ahead]
    sampler = new_sampler()
    sequences = [running(**MIXED[place], seed=place, slot=place) for place in ahead]
    batches = [sampler.prepare([Row(sequence, step) for sequence in sequences]) for step in range(12)]
    tokens = [
        sampler.sample(logits_of(step).repeat(len(ahead), 1), batch).token_ids.tolist()
        for step, batch in enumerate(batches)
    ]
    assert [list(column) for column in zip(*tokens, strict=True)] == known


def test_a_sequence_that_comes_back_to_another_slot_goes_on_as_before():
    params = {"temperature": 0.8, "repetition_penalty": 1.5, "presence_penalty": 1}
    expected = run(running(**params), 16)
    sampler = new_sampler()
    sequence = running(**params)
    run(sequence, 6, sampler)
    run(running(**params, seed=9, slot=0), 3, sampler)  # somebody else takes its slot
    sequence.slot = 1
    run(sequence, 5, sampler)
    sequence.slot = 0
    assert run(sequence, 5, sampler) == expected


def test_more_penalized_sequences_than_at_first_get_a_history_each():
    sampler = new_sampler()
    sequences = [running(temperature=0, repetition_penalty=3, slot=slot) for slot in range(8)]
    expected = run(running(temperature=0, repetition_penalty=3), 5)
    for number in (1, 3, 8):
        for sequence in sequences[:number]:
            sequence.output = []
            run(sequence, 5, sampler)
            assert sequence.output == expected


def test_a_penalized_row_whose_earlier_tokens_are_unknown_is_an_error_of_the_engine():
    with pytest.raises(AssertionError, match="token 3 is to be penalized, and 0 are known before it"):
        new_sampler().prepare([Row(running(repetition_penalty=2), 3)])


@settings(max_examples=40)
@given(
    prompt=st.lists(st.integers(0, VOCAB - 1), max_size=30),
    output=st.lists(st.integers(0, VOCAB - 1), max_size=30),
    repetition=st.floats(0.5, 2),
    presence=st.floats(-2, 2),
    frequency=st.floats(-2, 2),
)
def test_penalties_count_the_prompt_for_repetition_and_the_output_for_all(
    prompt, output, repetition, presence, frequency
):
    sequence = running(
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        temperature=0,
        logprobs=0,
        prompt=prompt,
    )
    sequence.output = output
    logits = logits_of(5)
    expected = logits[0].double()
    for place in range(VOCAB):
        if place in prompt or place in output:
            expected[place] = expected[place] / repetition if expected[place] > 0 else expected[place] * repetition
        expected[place] -= frequency * output.count(place) + presence * (place in output)
    chosen = token(sequence, logits)
    assert expected[chosen] >= expected.max() - 1e-5


def test_a_bias_of_100_forces_a_token_and_one_of_minus_100_forbids_it():
    best = int(logits_of(1).argmax())
    assert token(running(logit_bias={42: 100}), logits_of(1)) == 42
    assert token(running(temperature=0, logit_bias={best: -100}), logits_of(1)) != best


def test_the_bias_comes_before_the_penalties_as_in_vllm():
    logits = torch.full((1, VOCAB), -50.0)
    logits[0, 2], logits[0, 4] = -1.0, 2.4
    # Token 2 is in the prompt: (-1 + 5) / 2 = 2 < 2.4, and -1 * 2 + 5 = 3 would win.
    assert token(running(temperature=0, logit_bias={2: 5}, repetition_penalty=2), logits) == 4


def test_only_allowed_tokens_come_and_bad_words_do_not():
    sequence = running(allowed_token_ids=[7, 8, 9], bad_words=[[7], [8, 8]], temperature=5)
    output = run(sequence, 60)
    assert set(output) == {8, 9}
    assert (8, 8) not in set(pairwise(output))
    assert (9, 9) in set(pairwise(output))


def test_nothing_ends_the_output_before_min_tokens():
    end = torch.zeros(1, VOCAB)
    end[0, [1, 4]] = 50.0
    sequence = running(min_tokens=3, stop_token_ids=[4], temperature=0)
    sequence.end_token_ids = frozenset({1, 4})
    for _ in range(4):
        sequence.append(token(sequence, end))
    assert not set(sequence.output[:3]) & {1, 4}
    assert sequence.output[3] == 1


def test_log_probabilities_are_the_models_own_whatever_is_done_to_the_logits():
    logits = logits_of(3)
    expected = logits[0].log_softmax(-1)
    order = logits[0].argsort(descending=True).tolist()
    for params in ({}, {"temperature": 0}, {"temperature": 0.3, "repetition_penalty": 2, "logit_bias": {9: 100}}):
        sampled = one(running(logprobs=3, **params), logits)
        (chosen, logprob, rank), *others = sampled.entries(0, 3)
        assert chosen == int(sampled.token_ids[0])
        assert logprob == pytest.approx(float(expected[chosen]), abs=1e-5)
        assert rank == order.index(chosen) + 1
        assert [entry[0] for entry in others] == [place for place in order[:3] if place != chosen]
        assert [entry[2] for entry in others] == [place for place in (1, 2, 3) if order[place - 1] != chosen]
        assert all(entry[1] == pytest.approx(float(expected[entry[0]]), abs=1e-5) for entry in others)
    assert chosen == 9


def test_each_row_gets_as_many_log_probabilities_as_it_asked_for():
    sampler = new_sampler()
    asked = [None, 2, 0, 5]
    sequences = [running(logprobs=number, slot=slot) for slot, number in enumerate(asked)]
    sampled = sampler.sample(logits_of(2, rows=4), sampler.prepare([Row(one, 0) for one in sequences])).to_host()
    entries = [sampled.entries(row, number or 0) for row, number in enumerate(asked)]
    assert entries[0] is None
    assert all(len(entry) in (number, number + 1) for entry, number in zip(entries[1:], asked[1:], strict=True))
    assert [entry[0][0] for entry in entries[1:]] == sampled.token_ids[1:].tolist()


def test_no_more_likeliest_tokens_are_given_than_there_are():
    sampler = Sampler(3, 1, CPU)
    batch = sampler.prepare([Row(running(logprobs=20), 0)])
    assert len(sampler.sample(torch.tensor([[1.0, 2.0, 3.0]]), batch).entries(0, 20)) == 3


def test_prompt_log_probabilities_are_the_log_softmax_and_can_be_put_together():
    logits, targets = logits_of(4, rows=10), torch.arange(10)
    parts = [prompt_logprobs(logits[at : at + 4], targets[at : at + 4], 2) for at in (0, 4, 8)]
    whole = TokenLogprobs.concatenate(parts)
    expected = logits.log_softmax(-1)
    torch.testing.assert_close(whole.logprobs, expected[torch.arange(10), targets])
    torch.testing.assert_close(whole.top_logprobs, expected.topk(2).values)
    assert len(whole) == 10
    assert whole.entries(3, 2)[0][0] == 3


def test_a_row_that_is_not_finite_fails_alone():
    for params in ({"temperature": 0}, {"top_k": 3}, {"repetition_penalty": 2, "logprobs": 2}):
        sampler = new_sampler()
        sequences = [running(**params, slot=slot, seed=slot) for slot in range(3)]
        logits = logits_of(6, rows=3)
        expected = [token(running(**params, seed=slot), logits[slot : slot + 1]) for slot in range(3)]
        logits[1, 50] = float("nan")
        tokens = sampler.sample(logits, sampler.prepare([Row(one, 0) for one in sequences])).token_ids.tolist()
        assert tokens == [expected[0], -1, expected[2]]


def test_a_token_depends_on_the_seed_and_the_place_alone():
    logits = torch.zeros(1, VOCAB)

    def tokens(seed, places):
        sampler = new_sampler()
        sequence = running(seed=seed)
        rows = [Row(sequence, place) for place in places]
        return sampler.sample(logits.repeat(len(rows), 1), sampler.prepare(rows)).token_ids.tolist()

    together = tokens(3, range(20))  # as where tokens are guessed ahead
    assert together == [tokens(3, [place])[0] for place in range(20)]
    assert together != tokens(4, range(20))
    assert tokens(-1, range(20)) == tokens(2**64 - 1, range(20))


def test_a_copied_sequence_has_constants_of_its_own():
    first = running(logit_bias={5: 100})
    sampler = new_sampler()
    assert token(first, logits_of(0), sampler) == 5
    second = copy.copy(first)
    second.params = SamplingParams(logit_bias={6: 100})
    assert token(second, logits_of(0), sampler) == 6


def test_the_choice_is_made_where_there_is_float64():
    assert [exact_device(torch.device(name)).type for name in ("cpu", "cuda", "mps")] == ["cpu", "cuda", "cpu"]


def test_nothing_is_kept_of_sequences_that_are_gone():
    sampler = new_sampler()
    for seed in range(20):
        token(running(repetition_penalty=1.1, seed=seed, slot=seed % 2), logits_of(0), sampler)
    assert len(sampler._constants) <= 1
    assert len(sampler._history._history) == 2
