"""The engine: requests in, steps, finished sequences out."""

from __future__ import annotations

from itertools import count
from typing import Protocol

from torch import Tensor

from metavox.config import EngineInfo
from metavox.engine.generation import GenerationDefaults
from metavox.engine.prompts import read_prompt
from metavox.engine.sampler import sample_tokens
from metavox.engine.scheduler import Scheduler, Slice
from metavox.engine.sequence import Request, Sequence
from metavox.engine.tokenizer import HubTokenizer
from metavox.errors import InvalidRequest, shown
from metavox.params import SamplingParams


class StepRunner(Protocol):
    """What the engine asks of a `Runner`."""

    def run(self, plan: list[Slice]) -> Tensor:
        """See `Runner.run`."""
        ...

    def memory_bytes(self) -> int:
        """See `Runner.memory_bytes`."""
        ...


class Engine:
    """Runs many requests at once. Not thread-safe: one thread at a time adds, steps and resets.

    Args:
        info: what is loaded.
        runner: the model on its device.
        scheduler: who works when, and the blocks.
        tokenizer: None for a model without one.
        defaults: the checkpoint's end-of-sequence tokens and sampling settings.
        vocab_size: token ids are below it.
        seed: from which the seeds of requests without their own are derived.
    """

    def __init__(
        self,
        info: EngineInfo,
        runner: StepRunner,
        scheduler: Scheduler,
        tokenizer: HubTokenizer | None,
        defaults: GenerationDefaults,
        *,
        vocab_size: int,
        seed: int,
    ) -> None:
        self.info = info
        self.runner = runner
        self.scheduler = scheduler
        self.tokenizer = tokenizer
        self.defaults = defaults
        self._vocab_size = vocab_size
        self._seed = seed
        self._ordinals = count()

    def step(self) -> list[Sequence]:
        """Plan, run and sample one step. Returns the sequences that got a token, the finished ones included."""
        plan = self.scheduler.schedule()
        if not plan:
            return []
        for piece in plan:
            piece.sequence.start(len(plan))
        logits = self.runner.run(plan)
        sampled = [piece.sequence for piece in plan if piece.is_last]
        for sequence, token in zip(sampled, sample_tokens(logits, sampled), strict=True):
            sequence.append(token)
        self.scheduler.remove([sequence for sequence in sampled if sequence.finish_reason])
        return sampled

    @property
    def has_work(self) -> bool:
        """Whether any request is unfinished."""
        return self.scheduler.has_work

    def check(self, prompt: object, params: SamplingParams | None = None) -> Request:
        """Read a request, or refuse it. Changes nothing, so any thread may call it.

        Args:
            prompt: see `read_prompt`.
            params: None takes the checkpoint's own settings.

        Raises:
            InvalidRequest: it cannot be honoured: a bad prompt, one too long for the context or the KV cache,
                or parameters that need a tokenizer where there is none.
        """
        context = self.info.max_model_len
        if params is None:
            params = self.defaults.params()
            context = min(context, self.defaults.max_length or context)
        text, ids = read_prompt(prompt, self.tokenizer, self._vocab_size)
        self._check_params(params)
        max_tokens = min(params.max_tokens or context, context - len(ids))
        self._check_length(len(ids), max_tokens, context)
        return Request(text, tuple(ids), params, max_tokens)

    def _check_params(self, params: SamplingParams) -> None:
        if not isinstance(params, SamplingParams):
            raise InvalidRequest(f"sampling_params must be SamplingParams, and is a {type(params).__name__}.")
        if params.stop_strings and self.tokenizer is None:
            raise InvalidRequest("Stop strings need a tokenizer, and the model has none; use stop_token_ids.")
        stops = set(params.stop_token_ids or ())
        outside = [token for token in stops if token >= self._vocab_size]
        if outside:
            raise InvalidRequest(
                f"The stop token id {shown(outside[0])} is outside the model's vocabulary, "
                f"0 to {self._vocab_size - 1}."
            )
        endings = stops if params.ignore_eos else stops | self.defaults.eos_token_ids
        if params.min_tokens and len(endings) >= self._vocab_size:
            raise InvalidRequest("min_tokens cannot be reached: every token of the vocabulary ends the output.")

    def _check_length(self, num_prompt: int, max_tokens: int, context: int) -> None:
        if max_tokens < 1:
            own = context == self.info.max_model_len
            setting = "max_model_len" if own else "max_length of the model's generation_config.json"
            raise InvalidRequest(
                f"The prompt has {num_prompt} tokens, which leaves no room for output in the context of "
                f"{context} tokens ({setting}). Shorten it."
            )
        blocks = self.scheduler.blocks
        # The last token generated is never fed back, so it needs no place in the cache.
        needed = blocks.blocks_for(num_prompt + max_tokens - 1)
        if needed > blocks.num_blocks:
            raise InvalidRequest(
                f"The request ({num_prompt} tokens and up to {max_tokens} more) can need {needed} blocks of "
                f"{blocks.block_size} tokens, and the KV cache has {blocks.num_blocks}. Lower max_tokens, or "
                "raise num_kv_blocks or kv_cache_memory_bytes of the LLM."
            )

    def add(self, request: Request) -> Sequence:
        """Put a checked request in line. Its arrival is now."""
        ordinal = next(self._ordinals)
        seed = request.params.seed
        sequence = Sequence(
            str(ordinal),
            request,
            eos_token_ids=self.defaults.eos_token_ids,
            seed=f"{self._seed}/{ordinal}" if seed is None else f"{seed}",
            tokenizer=self.tokenizer,
        )
        self.scheduler.add(sequence)
        return sequence

    def reset(self) -> None:
        """Forget every request, also after an interruption in the middle of a step."""
        self.scheduler.reset()
