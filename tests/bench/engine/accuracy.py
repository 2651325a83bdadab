"""What rounding costs: the perplexity of the bundled model, with smaller weights and a smaller KV cache."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from metavox import LLM, SamplingParams
from metavox.outputs import RequestOutput

TINY = "metavox/tiny"
HELD_OUT_SEED = 1_000_003  # the tiny model was not trained on its texts
WINDOW = 256
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"quantization": "int8"},
    "int8, output matrix too": {"quantization": "int8", "quantize_lm_head": True},
    "int4": {"quantization": "int4"},
    "int4, output matrix too": {"quantization": "int4", "quantize_lm_head": True},
    "int8 KV cache": {"kv_cache_dtype": "int8"},
    "int8, output matrix and KV cache too": {
        "quantization": "int8",
        "quantize_lm_head": True,
        "kv_cache_dtype": "int8",
    },
}


def perplexities(num_tokens: int) -> list[dict[str, Any]]:
    """The perplexity of texts that the model was made for and has not seen, for each of `VARIANTS`.

    Returns:
        For each `variant` its `perplexity` over windows of `WINDOW` tokens and its `change` from float32's; a
        variant that fails has `error` instead.
    """
    found: list[dict[str, Any]] = []
    windows: list[list[int]] = []
    for name, settings in VARIANTS.items():
        try:
            with closing(LLM(TINY, device="cpu", **settings)) as llm:
                windows = windows or _windows(llm, num_tokens)
                params = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
                value = perplexity(llm.generate([{"prompt_token_ids": ids} for ids in windows], params))
        except Exception as error:  # the others go on
            found.append({"variant": name, "error": f"{type(error).__name__}: {error}"})
            continue
        base = found[0].get("perplexity") if found else value
        found.append({"variant": name, "perplexity": value, "change": value / base - 1 if base else None})
    return found


def perplexity(outputs: Sequence[RequestOutput]) -> float:
    """The exponential of the mean negative log-probability of all prompt tokens but each prompt's first."""
    total, count = 0.0, 0
    for output in outputs:
        assert output.prompt_logprobs is not None
        for token, known in zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True):
            assert known is not None
            total -= known[token].logprob
            count += 1
    return math.exp(total / count)


def _windows(llm: LLM, num_tokens: int) -> list[list[int]]:
    tokenizer = llm.get_tokenizer()
    texts = held_out_texts(6 * num_tokens)  # a token has fewer characters
    ids = [token for text in texts for token in (*tokenizer.encode(text), tokenizer.eos_token_id)]
    return [ids[at : at + WINDOW] for at in range(0, min(num_tokens, len(ids) - WINDOW + 1), WINDOW)]


def held_out_texts(characters: int) -> list[str]:
    """Texts of the grammar that the tiny model was trained on, from a seed that it has not seen."""
    folder = str(Path(__file__).resolve().parents[3] / "tools" / "tiny")
    sys.path.insert(0, folder)
    try:
        import corpus  # type: ignore[import-not-found]
    finally:
        sys.path.remove(folder)
    return list(corpus.characters(HELD_OUT_SEED, characters))
