"""SamplingParams: how the tokens of one request are chosen, in vLLM's names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from metavox.errors import InvalidRequest, Neutral, known_keywords, shown
from metavox.structured import StructuredOutputsParams
from metavox.values import LARGEST, as_float, as_int, bad_words, logit_bias, stop_strings, token_ids, within

HOTTEST = 1e6  # far beyond any use, and far within float32, in which the sampler divides by it
MOST_COMPLETIONS = 1024  # of one prompt
MOST_LOGPROBS = 20  # of one token, as in vLLM
# vLLM's arguments that its users write out and that we do not have.
NEUTRAL: Neutral = {
    "best_of": (1, None),
    "extra_args": (None, {}),
    "flat_logprobs": (False,),
    "guided_decoding": (None,),
    "length_penalty": (1.0,),
    "logits_processors": (None, []),
    "spaces_between_special_tokens": (True,),
    "truncate_prompt_tokens": (None,),
    "use_beam_search": (False,),
}
# Other names for what we have.
INSTEAD = {
    "do_sample": "temperature=0 for greedy, or a temperature above it,",
    "guided_decoding": "structured_outputs=StructuredOutputsParams(json=..., regex=..., choice=...)",
    "max_length": "max_tokens=...",
    "max_new_tokens": "max_tokens=...",
    "num_return_sequences": "n=...",
    "stop_strings": "stop=...",
}


@known_keywords(NEUTRAL, INSTEAD)
@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one request is sampled and when it ends.

    Args:
        n: how many completions of the prompt, from 1 to 1024. More than one needs a temperature above 0.
        temperature: 0 is greedy; larger is more random. From 0 to 1e6.
        top_p: keep the smallest set of tokens whose probability reaches it. In (0, 1].
        top_k: keep the k likeliest tokens; 0 or -1 keeps all.
        min_p: keep the tokens of at least this part of the likeliest one's probability. From 0 to 1.
        repetition_penalty: tokens of the prompt and the output so far have their logits divided by it where
            they are positive, and multiplied elsewhere. From 1e-6 to 1e6; 1 changes nothing.
        presence_penalty: subtracted from the logits of the tokens of the output so far. From -2 to 2.
        frequency_penalty: the same for each time that the token is there. From -2 to 2.
        logit_bias: token ids with what is added to their logits, from -100 to 100.
        allowed_token_ids: no other token is generated.
        bad_words: strings, or lists of token ids, that are not generated. A string is kept from coming as the
            tokens that the tokenizer makes of it, alone and after a space; not as other tokens.
        structured_outputs: the form that the output must have, see `StructuredOutputsParams`.
        max_tokens: the most tokens to generate, at least 1; None is as many as the context has room for.
            Generation also ends, with finish_reason "length", where prompt and output together reach the
            model's ``max_model_len``.
        min_tokens: no end-of-sequence token, stop token or stop string ends the output before it.
        seed: the request's own random seed. None derives one from the LLM's seed and the request's number.
        stop: a string, or several, that end the output; the text is cut before the first of them.
        stop_token_ids: token ids that end the output.
        ignore_eos: go on after the model's end-of-sequence tokens.
        logprobs: with each token give its log-probability and those of so many likeliest, from 0 to 20. They are
            the model's own, in nats: taken before everything above changes the logits.
        prompt_logprobs: the same for the tokens of the prompt.
        detokenize: make the output's text. Without it only token ids come out; stop strings need it.
        skip_special_tokens: leave the tokenizer's special tokens out of the text.
        include_stop_str_in_output: keep the stop string, or stop token, that ended the output in the text.

    Raises:
        InvalidRequest: a value is out of its range, of the wrong type, or contradicts another.
        UnknownArgument: a keyword that is not in this list, nor one of vLLM's that asks for nothing
            (``best_of=1``).
    """

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = field(default=None, hash=False)
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str | Sequence[int]] | None = None
    structured_outputs: StructuredOutputsParams | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    include_stop_str_in_output: bool = False

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_flags()
        object.__setattr__(self, "stop", stop_strings(self.stop))
        object.__setattr__(self, "stop_token_ids", token_ids("stop_token_ids", self.stop_token_ids))
        object.__setattr__(self, "logit_bias", logit_bias(self.logit_bias))
        object.__setattr__(self, "bad_words", bad_words(self.bad_words))
        self._check_allowed()
        self._check_together()

    def _check_numbers(self) -> None:
        self._check_floats()
        self._set(
            "top_k", within(as_int(self.top_k), -1, LARGEST), "-1 or 0 (all) or a positive integer below 2**63"
        )
        self._set("n", within(as_int(self.n), 1, MOST_COMPLETIONS), f"an integer from 1 to {MOST_COMPLETIONS}")
        if self.max_tokens is not None:
            max_tokens = within(as_int(self.max_tokens), 1, LARGEST)
            self._set("max_tokens", max_tokens, "an integer from 1 to 2**63 - 1, or None")
        most = LARGEST if self.max_tokens is None else self.max_tokens
        self._set(
            "min_tokens", within(as_int(self.min_tokens), 0, most), f"an integer between 0 and max_tokens ({most})"
        )
        if self.seed is not None:
            self._set("seed", within(as_int(self.seed), -LARGEST - 1, LARGEST), "an integer of 64 bits or None")
        for name in ("logprobs", "prompt_logprobs"):
            if getattr(self, name) is not None:
                number = within(as_int(getattr(self, name)), 0, MOST_LOGPROBS)
                self._set(name, number, f"an integer from 0 to {MOST_LOGPROBS}, or None")

    def _check_floats(self) -> None:
        self._set("temperature", within(as_float(self.temperature), 0, HOTTEST), "a number from 0 to 1e6")
        self._set("top_p", within(as_float(self.top_p), math.ulp(0), 1), "a number in (0, 1]")
        self._set("min_p", within(as_float(self.min_p), 0, 1), "a number from 0 to 1")
        repetition = within(as_float(self.repetition_penalty), 1e-6, 1e6)
        self._set("repetition_penalty", repetition, "a number from 1e-6 to 1e6, 1 for none")
        for name in ("presence_penalty", "frequency_penalty"):
            self._set(name, within(as_float(getattr(self, name)), -2, 2), "a number from -2 to 2, 0 for none")

    def _check_flags(self) -> None:
        for name in ("ignore_eos", "detokenize", "skip_special_tokens", "include_stop_str_in_output"):
            flag = getattr(self, name)
            self._set(name, flag if isinstance(flag, bool) else None, "True or False")

    def _check_allowed(self) -> None:
        if self.allowed_token_ids is None:
            return
        allowed = token_ids("allowed_token_ids", self.allowed_token_ids)
        if not allowed:
            raise InvalidRequest("SamplingParams.allowed_token_ids must be at least one token id, and is empty.")
        object.__setattr__(self, "allowed_token_ids", tuple(sorted(set(allowed))))

    def _check_together(self) -> None:
        if self.n > 1 and self.temperature == 0:
            raise InvalidRequest(
                f"SamplingParams.n = {self.n} with temperature = 0 would give the same text {self.n} times; raise "
                "the temperature, or leave n out."
            )
        if self.stop and not self.detokenize:
            raise InvalidRequest(
                "SamplingParams.stop is looked for in the text, which detokenize = False leaves out."
            )
        if self.structured_outputs is None:
            return
        if not isinstance(self.structured_outputs, StructuredOutputsParams):
            raise InvalidRequest(
                "SamplingParams.structured_outputs must be StructuredOutputsParams(json=..., or another form), and "
                f"is {shown(self.structured_outputs)}."
            )
        for name in ("min_tokens", "ignore_eos", "allowed_token_ids", "bad_words"):
            if getattr(self, name):
                raise InvalidRequest(
                    f"SamplingParams.{name} cannot be combined with structured_outputs, which alone says what "
                    "comes next and where the output may end; leave one of them out."
                )

    def _set(self, name: str, value: float | None, wanted: str) -> None:
        """Keep the plain Python number that `name` was read as; None says that it is none."""
        if value is None:
            raise InvalidRequest(f"SamplingParams.{name} must be {wanted}, and is {shown(getattr(self, name))}.")
        object.__setattr__(self, name, value)

    @cached_property
    def is_penalized(self) -> bool:
        """Whether the choice of a token depends on how often it was there before."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)

    @cached_property
    def is_plain_greedy(self) -> bool:
        """Whether, from `min_tokens` on, each token is the likeliest and nothing else is asked of the logits."""
        constrained = self.logit_bias or self.allowed_token_ids or self.bad_words or self.structured_outputs
        return self.temperature == 0 and not (constrained or self.is_penalized or self.logprobs is not None)

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """`stop` as a tuple, empty when there is none."""
        return self.stop if isinstance(self.stop, tuple) else ()
