"""Chooses the next token of each sequence by its own parameters and its own random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from metavox.engine.chosen import Sampled, TokenLogprobs, exact_device
from metavox.engine.penalties import PenaltyBatch, PenaltyHistory
from metavox.engine.sampling import GREEDY, Constants, Row, Sampleable, SamplingBatch
from metavox.engine.uniform import uniform
from metavox_kernels import greedy, mask_logits, sample, token_logprobs


class Sampler:
    """Makes the rows of a step ready on the host, and chooses their tokens on the device.

    In this order, which is vLLM's:

    1. log-probabilities are taken of the model's own logits;
    2. what is not allowed becomes -inf: by `allowed_token_ids`, structured outputs, bad words, and `min_tokens`;
    3. `logit_bias` is added;
    4. repetition, then frequency, then presence penalties;
    5. temperature; at 0 the largest logit is taken, the first one of equals;
    6. `min_p`, `top_k`, and of what they left `top_p`;
    7. of the rest, one token is drawn by the inverse of their cumulative distribution in the order of ids.

    `prepare` may run ahead of `sample`, which must get the batches in the order in which they were prepared.

    Args:
        vocab_size: columns of the logits.
        max_num_seqs: the most sequences that run.
        device: where the logits are.
    """

    def __init__(self, vocab_size: int, max_num_seqs: int, device: torch.device) -> None:
        self._vocab_size = vocab_size
        self._model_device = device
        self._device = exact_device(device)
        self._constants: WeakKeyDictionary[Sampleable, Constants] = WeakKeyDictionary()
        self._history = PenaltyHistory(vocab_size, self._device)

    def prepare(self, rows: Sequence[Row]) -> SamplingBatch:
        """What `sample` needs for rows of logits, one token each.

        A row whose choice depends on earlier tokens (see `needs_history`) is its sequence's only one, and where
        `needs_tokens` says so, its `grammar` has accepted all of them.
        """
        if all(row.sequence.params.is_plain_greedy and row.index >= row.sequence.params.min_tokens for row in rows):
            return GREEDY
        constants = [self._constants_of(row.sequence) for row in rows]
        wanted = [row.sequence.params.logprobs for row in rows]
        return SamplingBatch(
            settings=self._settings(rows, constants),
            banned=self._banned(rows, constants),
            masked=self._masked(rows, constants),
            biases=self._biases(constants),
            penalties=self._penalties(rows, constants),
            logprob_rows=_indices([at for at, number in enumerate(wanted) if number is not None]),
            num_top=min(self._vocab_size, max(number or 0 for number in wanted)),
        )

    def _constants_of(self, sequence: Sampleable) -> Constants:
        found = self._constants.get(sequence)
        if found is None:
            found = self._constants[sequence] = Constants(sequence, self._vocab_size)
        return found

    def _settings(self, rows: Sequence[Row], constants: list[Constants]) -> Tensor | None:
        settings = np.empty((len(rows), 5))
        settings[:, :4] = [constant.settings for constant in constants]
        if not settings[:, 0].any():
            return None
        seeds = np.array([constant.seed for constant in constants], dtype=np.uint64)
        settings[:, 4] = uniform(seeds, np.array([row.index for row in rows], dtype=np.int64))
        return torch.from_numpy(settings)

    def _banned(self, rows: Sequence[Row], constants: list[Constants]) -> Tensor | None:
        flat = [
            at * self._vocab_size + constant.end_ids
            for at, (row, constant) in enumerate(zip(rows, constants, strict=True))
            if row.index < row.sequence.params.min_tokens
        ]
        return torch.from_numpy(np.concatenate(flat)) if flat else None

    def _masked(self, rows: Sequence[Row], constants: list[Constants]) -> tuple[Tensor, Tensor] | None:
        masked = [
            at
            for at, (row, constant) in enumerate(zip(rows, constants, strict=True))
            if constant.allowed is not None or row.sequence.grammar is not None
        ]
        if not masked:
            return None
        allowed = np.empty((len(masked), -(-self._vocab_size // 32)), dtype=np.int32)
        for words, at in zip(allowed, masked, strict=True):
            ids = constants[at].allowed
            words[:] = -1 if ids is None else ids
            grammar = rows[at].sequence.grammar
            if grammar is not None:
                grammar.fill(words)
        return torch.tensor(masked), torch.from_numpy(allowed)

    def _biases(self, constants: list[Constants]) -> tuple[Tensor, Tensor] | None:
        biased = [(at, constant) for at, constant in enumerate(constants) if len(constant.bias)]
        if not biased:
            return None
        flat = np.concatenate([at * self._vocab_size + constant.bias_ids for at, constant in biased])
        return torch.from_numpy(flat), torch.from_numpy(np.concatenate([constant.bias for _, constant in biased]))

    def _penalties(self, rows: Sequence[Row], constants: list[Constants]) -> PenaltyBatch | None:
        penalized = [at for at, row in enumerate(rows) if row.sequence.params.is_penalized]
        if not penalized:
            return None
        places = [self._history.place(rows[at].sequence, rows[at].index) for at in penalized]
        factors = np.array([constants[at].factors for at in penalized], dtype=np.float32)
        return PenaltyBatch(
            rows=torch.tensor(penalized),
            slots=torch.tensor([slot for slot, _ in places]),
            factors=torch.from_numpy(np.ascontiguousarray(factors.T)),
            starts=[start for _, start in places if start is not None],
            num_slots=self._history.num_slots,
        )

    @torch.inference_mode()
    def sample(self, logits: Tensor, batch: SamplingBatch) -> Sampled:
        """The tokens of a prepared batch.

        Args:
            logits: [num_rows, vocab_size] float32; may be changed.
            batch: of the same rows.

        Returns:
            The tokens on the model's device. A row with NaN or +inf, or with no token allowed, has token -1;
            the others do not suffer.
        """
        logits = logits.to(self._device)
        wanted = self._wanted(logits, batch)
        self._change(logits, batch)
        tokens = self._choose(logits, batch)
        if batch.penalties is not None:
            self._history.count(batch.penalties, tokens)
        if batch.logprob_rows is None:
            return Sampled(tokens.to(self._model_device), None, {})
        chosen = tokens[batch.logprob_rows]
        logprobs = TokenLogprobs(chosen, *token_logprobs(wanted, chosen, batch.num_top))
        return Sampled(
            tokens.to(self._model_device), logprobs, {row: at for at, row in enumerate(batch.logprob_rows.tolist())}
        )

    def _wanted(self, logits: Tensor, batch: SamplingBatch) -> Tensor:
        """The logits whose log-probabilities are asked for, before anything changes them."""
        if batch.logprob_rows is None:
            return logits
        if len(batch.logprob_rows) == len(logits) and not batch.changes_logits:
            return logits
        return logits[batch.logprob_rows]

    def _change(self, logits: Tensor, batch: SamplingBatch) -> None:
        flat = logits.view(-1)
        if batch.banned is not None:
            flat[batch.banned.to(self._device)] = float("-inf")
        if batch.masked is not None:
            rows, allowed = batch.masked
            mask_logits(logits, rows.to(self._device), allowed.to(self._device))
        if batch.biases is not None:
            places, values = batch.biases
            flat.index_add_(0, places.to(self._device), values.to(self._device))
        if batch.penalties is not None:
            self._history.apply(logits, batch.penalties)

    def _choose(self, logits: Tensor, batch: SamplingBatch) -> Tensor:
        if batch.settings is None:
            return greedy(logits)
        temperature, top_k, top_p, min_p, numbers = batch.settings.to(self._device).unbind(1)
        return sample(logits, temperature.float(), top_k.long(), top_p, min_p.float(), numbers)


def _indices(values: list[int]) -> Tensor | None:
    return torch.tensor(values) if values else None
