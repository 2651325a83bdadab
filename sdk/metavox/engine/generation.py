"""What a checkpoint says about how it is to be sampled and where its output ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metavox.engine.documents import read_json
from metavox.errors import InvalidCheckpoint, InvalidRequest, shown
from metavox.params import SamplingParams
from metavox.values import as_int

# generation_config.json's names for what SamplingParams can do.
NAMES = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "stop_strings": "stop",
}
# What it can ask for and we cannot do: by any value but 1,
SILENT_AT_ONE = (
    "encoder_repetition_penalty", "length_penalty", "typical_p", "guidance_scale",
    "num_beams", "num_beam_groups", "num_return_sequences",
)  # fmt: skip
# and by any value but null, 0 and an empty list.
SILENT_AT_NOTHING = (
    "top_h", "epsilon_cutoff", "eta_cutoff", "penalty_alpha",
    "diversity_penalty", "exponential_decay_length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "min_length", "max_time", "begin_suppress_tokens",
    "force_words_ids", "constraints", "sequence_bias", "forced_bos_token_id",
    "forced_eos_token_id", "forced_decoder_ids", "watermarking_config", "dola_layers", "token_healing",
)  # fmt: skip


@dataclass(frozen=True)
class GenerationDefaults:
    """`settings` are the values of generation_config.json that is, or asks for, sampling."""

    eos_token_ids: frozenset[int]
    settings: dict[str, Any]

    def params(self) -> SamplingParams:
        """The parameters of a request that gives none: the checkpoint's own, as in vLLM.

        Raises:
            InvalidRequest: the checkpoint's own settings need something that SamplingParams does not have.
        """
        asked = [name for name in SILENT_AT_ONE if self.settings.get(name) not in (None, 1)]
        asked += [name for name in SILENT_AT_NOTHING if self.settings.get(name)]
        if asked:
            raise InvalidRequest(
                f"The model's generation_config.json asks for {asked[0]} = {shown(self.settings[asked[0]])}, "
                "which is not supported; pass sampling_params explicitly."
            )
        known = {ours: self.settings.get(theirs) for theirs, ours in NAMES.items()}
        known["bad_words"] = self._bad_words() or None
        if self.settings.get("do_sample") is False:
            known["temperature"] = 0.0
        try:
            return SamplingParams(**{name: value for name, value in known.items() if value is not None})
        except InvalidRequest as error:
            raise InvalidRequest(
                f"The model's generation_config.json is out of range: {error} Pass sampling_params explicitly."
            ) from error

    def _bad_words(self) -> list[Any]:
        """What is never generated, as token ids; an end of sequence always may be, as in transformers."""
        words = self.settings.get("bad_words_ids") or []
        suppressed = self.settings.get("suppress_tokens") or []
        if not isinstance(words, list) or not isinstance(suppressed, list):
            name = "suppress_tokens" if isinstance(words, list) else "bad_words_ids"
            raise InvalidRequest(
                f"The model's generation_config.json is out of range: {name} must be a list, and is "
                f"{shown(self.settings[name])}. Pass sampling_params explicitly."
            )
        ends = [[token] for token in self.eos_token_ids]
        return [word for word in words if word not in ends] + [[token] for token in suppressed]

    def ending_at(self, eos: object, vocab_size: int) -> GenerationDefaults:
        """The same with a token id, a list of them or None as end of sequence.

        An id that is not below `vocab_size` can never be sampled, and is dropped.
        """
        ids = frozenset(token for token in _token_ids(eos) if token < vocab_size)
        return replace(self, eos_token_ids=ids)

    @property
    def max_length(self) -> int | None:
        """The most tokens of prompt and output together; `max_new_tokens` takes its place, as in transformers."""
        return None if self.settings.get("max_new_tokens") else self.settings.get("max_length")


def read_generation_defaults(folder: Path, raw: dict[str, Any], vocab_size: int) -> GenerationDefaults:
    """Read generation_config.json; where it names no end of sequence, config.json does, or nobody.

    Args:
        folder: the checkpoint's folder.
        raw: its config.json.
        vocab_size: see `GenerationDefaults.ending_at`.

    Raises:
        InvalidCheckpoint: the end of sequence is no token id, or max_length no length.
    """
    path = folder / "generation_config.json"
    settings = read_json(path) if path.is_file() else {}
    eos = settings.get("eos_token_id")
    eos = raw.get("eos_token_id") if eos is None else eos
    length = settings.get("max_length")
    if length is not None and not (as_int(length) or 0) >= 1:
        raise InvalidCheckpoint(f"{path}: max_length must be a positive integer, and is {shown(length)}.")
    return GenerationDefaults(frozenset(), settings).ending_at(eos, vocab_size)


def _token_ids(eos: object) -> list[int]:
    ids: list[Any] = eos if isinstance(eos, list) else [] if eos is None else [eos]
    if not all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in ids):
        raise InvalidCheckpoint(f"eos_token_id must be a token id or a list of them, and is {shown(eos)}.")
    return ids
