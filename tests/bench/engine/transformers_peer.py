"""transformers' `generate` as a contender."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .speed import Speed, Workload


class Transformers:
    """A model of the hub's own library, with its KV cache and scaled-dot-product attention."""

    def __init__(self, name: str, folder: Path, dtype: torch.dtype) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.name = name
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
        self._model = model.eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def measure(self, workload: Workload, prompts: list[list[int]]) -> Speed:
        """See `Contender.measure`. All prompts are equally long, so that none is padded."""
        ids = torch.tensor(prompts)
        clock = _Clock()
        began = time.perf_counter()
        self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=workload.output_len,
            max_new_tokens=workload.output_len,
            do_sample=False,
            pad_token_id=0,
            use_cache=True,
            stopping_criteria=[clock],
        )
        first, last = clock.moments[0], clock.moments[-1]
        decode = workload.num_seqs * (len(clock.moments) - 1) / (last - first)
        return Speed(ids.numel() / (first - began), decode)


class _Clock:
    """A stopping criterion, asked after every token, that stops nothing."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        self.moments.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool)
