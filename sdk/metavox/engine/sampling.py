"""What the sampler is asked for a step, and what the device needs for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metavox.engine.matchers import Matcher, set_bits
from metavox.engine.penalties import PenaltyBatch
from metavox.params import SamplingParams

SEED_BITS = 2**64 - 1


class Sampleable(Protocol):
    """What the sampler asks of a sequence, which must be one that weak references can be made to.

    Attributes:
        slot: its place among the running sequences, from 0 to max_num_seqs - 1; nobody else's while it runs.
        params: of its request.
        seed: of its random numbers; 64 bits.
        prompt_token_ids: [num_prompt_tokens] integers.
        output_token_ids: [num_output_tokens] integers, those that are known.
        end_token_ids: what ends the output, banned before `params.min_tokens`.
        grammar: what the tokens before it allow the next one to be, None for anything.
    """

    @property
    def slot(self) -> int: ...  # noqa: D102
    @property
    def params(self) -> SamplingParams: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def prompt_token_ids(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def output_token_ids(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def end_token_ids(self) -> frozenset[int]: ...  # noqa: D102
    @property
    def grammar(self) -> Matcher | None: ...  # noqa: D102


@dataclass(frozen=True)
class Row:
    """A row of logits: from it `sequence`'s output token number `index` is chosen, from 0."""

    sequence: Sampleable
    index: int


@dataclass(frozen=True)
class SamplingBatch:
    """The rows of a step as the device needs them. All None: every row is greedy, and nothing else is asked.

    Attributes:
        settings: [num_rows, 5] float64: temperature, top_k, top_p, min_p and a uniform random number.
        banned: [n] int64, row * vocab_size + token id.
        masked: rows [n] int64 and what is allowed in them [n, ceil(vocab_size / 32)] int32.
        biases: [n] int64, row * vocab_size + token id, and [n] float32 what is added there.
        penalties: see `PenaltyBatch`.
        logprob_rows: [n] int64, those that want log-probabilities.
        num_top: of how many likeliest tokens.
    """

    settings: Tensor | None = None
    banned: Tensor | None = None
    masked: tuple[Tensor, Tensor] | None = None
    biases: tuple[Tensor, Tensor] | None = None
    penalties: PenaltyBatch | None = None
    logprob_rows: Tensor | None = None
    num_top: int = 0

    @property
    def changes_logits(self) -> bool:
        """Whether sampling leaves the logits other than it found them."""
        return any(part is not None for part in (self.banned, self.masked, self.biases, self.penalties))


GREEDY = SamplingBatch()


class Constants:
    """What a sequence's rows have in common."""

    def __init__(self, sequence: Sampleable, vocab_size: int) -> None:
        params = sequence.params
        top_k = min(params.top_k, vocab_size) if params.top_k > 0 else 0
        self.settings = (params.temperature, top_k, params.top_p, params.min_p)
        self.factors = (params.repetition_penalty, params.presence_penalty, params.frequency_penalty)
        self.seed = sequence.seed & SEED_BITS
        self.end_ids = np.array(sorted(sequence.end_token_ids), dtype=np.int64)
        bias = params.logit_bias or {}
        self.bias_ids = np.array(list(bias), dtype=np.int64)
        self.bias = np.array(list(bias.values()), dtype=np.float32)
        self.allowed: NDArray[np.int32] | None = None
        if params.allowed_token_ids:
            self.allowed = np.zeros(-(-vocab_size // 32), dtype=np.int32)
            set_bits(self.allowed, np.array(params.allowed_token_ids, dtype=np.int64))
