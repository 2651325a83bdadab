"""Runs the model on planned steps, one after the other, while the caller goes on planning."""

from __future__ import annotations

from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from metavox.engine.chosen import PromptLogprobs, Sampled, prompt_logprobs
from metavox.engine.inputs import StepBuffers, StepInputs
from metavox.engine.sampler import Sampler
from metavox.engine.sampling import Row, SamplingBatch
from metavox.engine.scheduler import Slice
from metavox.engine.worker import Pending, Worker
from metavox.models.decoder import Decoder
from metavox_kernels import LayerCache

PROMPT_ROWS = 64  # rows of logits at a time, where those of a whole prompt are asked for


@dataclass(frozen=True)
class StepResult:
    """What a step brought.

    Attributes:
        sampled: the tokens, on the host: one row for each sampled token of the plan, in its order.
        prompt_logprobs: for each slice of the plan, those of its prompt tokens after the first, or None.
    """

    sampled: Sampled
    prompt_logprobs: list[PromptLogprobs | None]


class Runner:
    """Holds the model, the KV cache and what is sampled last, on the device.

    Steps run in the order of their `launch` on a thread of their own, which is to a CPU what a stream is to a
    GPU: the caller plans the next step and handles the results of the last one meanwhile.

    Args:
        model: a loaded and prepared decoder.
        caches: one for each layer.
        sampler: chooses the tokens.
        max_num_seqs, max_num_batched_tokens: the most sequences and tokens of a step.
        max_blocks: the most blocks of a sequence.
    """

    def __init__(
        self,
        model: Decoder,
        caches: Sequences[LayerCache],
        sampler: Sampler,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_blocks: int,
    ) -> None:
        self.model = model
        self.caches = caches
        self.device = caches[0].key.device
        self._sampler = sampler
        self._shape = (max_num_seqs, max_num_batched_tokens, max_blocks, caches[0].block_size)
        self._last_tokens = torch.zeros(max_num_seqs, dtype=torch.int64, device=self.device)
        self._static_bytes = model.nbytes + sum(map(_nbytes, caches))
        self._worker = Worker("metavox-device")
        self.reset()

    def reset(self) -> None:
        """Make ready for other sequences; a step that still runs keeps what it works on."""
        # Two sets: one is filled while the device reads the other.
        self._buffers = cycle([StepBuffers(*self._shape, self.device) for _ in range(2)])

    def launch(self, plan: list[Slice]) -> Pending[StepResult]:
        """Set a planned step going. At most one other may be under way."""
        inputs = next(self._buffers).fill(plan)
        rows = [Row(piece.sequence, piece.index + at) for piece in plan for at in range(piece.num_sampled)]
        return self._worker.submit(self._run, inputs, self._sampler.prepare(rows), torch.get_num_threads())

    @torch.inference_mode()
    def _run(self, inputs: StepInputs, sampling: SamplingBatch, num_threads: int) -> StepResult:
        if torch.get_num_threads() != num_threads:
            torch.set_num_threads(num_threads)  # is a thread's own
        ids = inputs.ids
        if inputs.fed_rows is not None:
            ids[inputs.fed_rows] = self._last_tokens[inputs.fed_slots]
        hidden = self.model.forward(ids, inputs.positions, self.caches, inputs.batch)
        asked = [None if part is None else self._prompt_logprobs(hidden, *part) for part in inputs.prompt_parts]
        sampled = self._sampler.sample(self.model.logits(hidden[inputs.sampled_rows]), sampling)
        # What is not finite ends its sequence, which the device cannot know yet: any token will do.
        self._last_tokens[inputs.sampled_slots] = sampled.token_ids.clamp_min(0)
        return StepResult(sampled.to_host(), asked)

    def _prompt_logprobs(self, hidden: Tensor, first: int, targets: Tensor, number: int) -> PromptLogprobs:
        """Of the tokens `targets`, each chosen after one of the rows of `hidden` from `first` on."""
        parts = []
        for at in range(0, len(targets), PROMPT_ROWS):
            some = targets[at : at + PROMPT_ROWS]
            logits = self.model.logits(hidden[first + at : first + at + len(some)])
            parts.append(prompt_logprobs(logits, some, number))
        return PromptLogprobs.concatenate(parts)

    def close(self) -> None:
        """Wait for the step under way, end the thread and let go of weights and caches."""
        self._worker.close()
        for name in ("model", "caches"):  # each that is still there: this may have been interrupted
            self.__dict__.pop(name, None)

    def memory_bytes(self) -> int:
        """Peak bytes allocated on a CUDA device; elsewhere the weights and the KV pool."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return self._static_bytes


def _nbytes(cache: LayerCache) -> int:
    tensors = (cache.key, cache.value, cache.key_scale, cache.value_scale)
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
