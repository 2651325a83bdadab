"""MetaVox as a contender."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from metavox import LLM, SamplingParams
from metavox.outputs import RequestOutput

from .speed import Speed, Workload, steady_decode


class MetaVox:
    """An `LLM` of a checkpoint; `settings` are its arguments."""

    def __init__(self, name: str, model: Path | str, **settings: Any) -> None:
        self.name = name
        self.llm = LLM(model, device="cpu", **settings)

    def measure(self, workload: Workload, prompts: list[list[int]]) -> Speed:
        """See `Contender.measure`.

        The prompts are computed once for one token each, by themselves, and are then found in the prefix cache:
        otherwise the first sequences would decode while the last ones are still waiting.
        """
        began = time.monotonic()
        prefilled = max(output.metrics.first_token_time for output in self.generate(prompts, 1)) - began
        outputs = self.generate(prompts, workload.output_len)
        decode = steady_decode([output.metrics.token_times[0] for output in outputs])
        return Speed(workload.num_seqs * workload.input_len / prefilled, decode)

    def generate(self, prompts: list[list[int]], output_len: int) -> list[RequestOutput]:
        """Exactly `output_len` greedy tokens for each prompt."""
        params = SamplingParams(temperature=0, max_tokens=output_len, ignore_eos=True)
        return self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params)

    def close(self) -> None:
        """Let go of weights and threads."""
        self.llm.close()
