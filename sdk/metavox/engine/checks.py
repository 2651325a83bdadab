"""What a request must fulfil before it may run."""

from __future__ import annotations

import numpy as np

from metavox.engine.constraints import check_params, needs_history, needs_tokens
from metavox.engine.generation import GenerationDefaults
from metavox.engine.prompts import read_prompt
from metavox.engine.sequence import Request
from metavox.engine.tokenizer import HubTokenizer
from metavox.errors import InvalidRequest
from metavox.params import SamplingParams


class RequestChecks:
    """Reads requests and refuses those that cannot be honoured. It changes nothing, so any thread may use it.

    Args:
        tokenizer: None for a model without one.
        defaults: the checkpoint's end-of-sequence tokens and sampling settings.
        vocab_size: token ids are below it.
        max_model_len: the most tokens of prompt and output.
        num_blocks, block_size: the KV cache.
        speculative: whether tokens are guessed.
    """

    def __init__(
        self,
        tokenizer: HubTokenizer | None,
        defaults: GenerationDefaults,
        *,
        vocab_size: int,
        max_model_len: int,
        num_blocks: int,
        block_size: int,
        speculative: bool = False,
    ) -> None:
        self.defaults = defaults
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._max_model_len = max_model_len
        self._num_blocks = num_blocks
        self._block_size = block_size
        self._speculative = speculative

    def check(self, prompt: object, params: SamplingParams | None = None) -> Request:
        """Read a request, or refuse it.

        Args:
            prompt: see `read_prompt`.
            params: None takes the checkpoint's own settings.

        Raises:
            InvalidRequest: it cannot be honoured: a bad prompt, one too long for the context or the KV cache,
                or parameters that the model cannot follow.
        """
        context = self._max_model_len
        if params is None:
            params = self.defaults.params()
            context = min(context, self.defaults.max_length or context)
        if not isinstance(params, SamplingParams):
            raise InvalidRequest(f"sampling_params must be SamplingParams, and is a {type(params).__name__}.")
        text, ids = read_prompt(prompt, self._tokenizer, self._vocab_size)
        constraint = check_params(params, self._vocab_size, self._tokenizer, self.defaults.eos_token_ids)
        max_tokens = min(params.max_tokens or context, context - len(ids))
        self._check_length(len(ids), max_tokens, context)
        draftable = self._speculative and not needs_history(params)
        return Request(
            text,
            np.array(ids, dtype=np.int64),
            params,
            max_tokens,
            lockstep=draftable or needs_tokens(params),
            draftable=draftable,
            new_grammar=None if constraint is None else constraint.matcher,
        )

    def _check_length(self, num_prompt: int, max_tokens: int, context: int) -> None:
        if max_tokens < 1:
            own = context == self._max_model_len
            setting = "max_model_len" if own else "max_length of the model's generation_config.json"
            raise InvalidRequest(
                f"The prompt has {num_prompt} tokens, which leaves no room for output in the context of "
                f"{context} tokens ({setting}). Shorten it."
            )
        # The last token generated is never fed back, so it needs no place in the cache.
        needed = -(-(num_prompt + max_tokens - 1) // self._block_size)
        if needed > self._num_blocks:
            raise InvalidRequest(
                f"The request ({num_prompt} tokens and up to {max_tokens} more) can need {needed} blocks of "
                f"{self._block_size} tokens, and the KV cache has {self._num_blocks}. Lower max_tokens, or "
                "raise num_kv_blocks or kv_cache_memory_bytes of the LLM."
            )
