"""SamplingParams: how the tokens of one request are chosen, in vLLM's names."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import SupportsIndex, TypeVar

from metavox.errors import InvalidRequest, Neutral, known_keywords, shown

N = TypeVar("N", int, float)
HOTTEST = 1e6  # far beyond any use, and far within float32, in which the sampler divides by it
LARGEST = 2**63 - 1  # what a tensor and a span can hold
# vLLM's arguments that its users write out and that we do not have.
NEUTRAL: Neutral = {
    "n": (1,),
    "best_of": (1, None),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "repetition_penalty": (1.0,),
    "min_p": (0.0,),
    "logit_bias": (None, {}),
    "bad_words": (None, []),
    "allowed_token_ids": (None,),
    "logprobs": (None,),
    "prompt_logprobs": (None,),
    "structured_outputs": (None,),
    "detokenize": (True,),
    "extra_args": (None, {}),
    "guided_decoding": (None,),
    "length_penalty": (1.0,),
    "logits_processors": (None, []),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": (None,),
    "use_beam_search": (False,),
}


@known_keywords(NEUTRAL)
@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one request is sampled and when it ends.

    Args:
        temperature: 0 is greedy; larger is more random. From 0 to 1e6.
        top_p: keep the smallest set of tokens whose probability reaches it. In (0, 1].
        top_k: keep the k likeliest tokens; 0 or -1 keeps all.
        max_tokens: the most tokens to generate, at least 1; None is as many as the context has room for.
            Generation also ends, with finish_reason "length", where prompt and output together reach the
            model's ``max_model_len``.
        min_tokens: no end-of-sequence token, stop token or stop string ends the output before it.
        seed: the request's own random seed. None derives one from the LLM's seed and the request's number.
        stop: a string, or several, that end the output; the text is cut before the first of them.
        stop_token_ids: token ids that end the output.
        ignore_eos: go on after the model's end-of-sequence tokens.
        skip_special_tokens: leave the tokenizer's special tokens out of the text.
        include_stop_str_in_output: keep the stop string, or stop token, that ended the output in the text.

    Raises:
        InvalidRequest: a value is out of its range or of the wrong type.
        UnknownArgument: a keyword that is not in this list, nor one of vLLM's that asks for nothing (``n=1``).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = 16
    min_tokens: int = 0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    include_stop_str_in_output: bool = False

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_flags()
        object.__setattr__(self, "stop", _stop_strings(self.stop))
        object.__setattr__(self, "stop_token_ids", _stop_ids(self.stop_token_ids))

    def _check_numbers(self) -> None:
        self._set("temperature", _within(as_float(self.temperature), 0, HOTTEST), "from 0 to 1e6")
        self._set("top_p", _within(as_float(self.top_p), math.ulp(0), 1), "in (0, 1]")
        self._set(
            "top_k", _within(as_int(self.top_k), -1, LARGEST), "-1 or 0 (all) or a positive integer below 2**63"
        )
        if self.max_tokens is not None:
            max_tokens = _within(as_int(self.max_tokens), 1, LARGEST)
            self._set("max_tokens", max_tokens, "an integer from 1 to 2**63 - 1, or None")
        most = LARGEST if self.max_tokens is None else self.max_tokens
        self._set(
            "min_tokens", _within(as_int(self.min_tokens), 0, most), f"an integer between 0 and max_tokens ({most})"
        )
        if self.seed is not None:
            self._set("seed", _within(as_int(self.seed), -LARGEST - 1, LARGEST), "an integer of 64 bits or None")

    def _check_flags(self) -> None:
        for name in ("ignore_eos", "skip_special_tokens", "include_stop_str_in_output"):
            flag = getattr(self, name)
            self._set(name, flag if isinstance(flag, bool) else None, "True or False")

    def _set(self, name: str, value: float | None, wanted: str) -> None:
        """Keep the plain Python number that `name` was read as; None says that it is none."""
        if value is None:
            raise InvalidRequest(f"SamplingParams.{name} must be {wanted}, and is {shown(getattr(self, name))}.")
        object.__setattr__(self, name, value)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, empty when there is none."""
        return self.stop if isinstance(self.stop, tuple) else ()


def as_int(value: object) -> int | None:
    """An integer of any library as an int; None for everything else, bools among it."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        return operator.index(value)
    except TypeError:  # torch's and numpy's arrays of something else have __index__ too
        return None


def as_float(value: object) -> float | None:
    """A finite real number of any library as a float; None for everything else, bools among it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _within(value: N | None, low: float, high: float) -> N | None:
    return value if value is not None and low <= value <= high else None


def _stop_strings(stop: object) -> tuple[str, ...]:
    if stop is None:
        return ()
    stops = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, Sequence) else (stop,)
    if not all(isinstance(text, str) and text for text in stops):
        raise InvalidRequest(f"SamplingParams.stop must be one or more non-empty strings, and is {shown(stop)}.")
    return stops


def _stop_ids(ids: object) -> tuple[int, ...]:
    if ids is None:
        return ()
    tokens = tuple(as_int(token) for token in ids) if isinstance(ids, Sequence) else (None,)
    valid = tuple(token for token in tokens if token is not None and token >= 0)
    if len(valid) < len(tokens):
        raise InvalidRequest(f"SamplingParams.stop_token_ids must be a list of token ids, and is {shown(ids)}.")
    return valid
