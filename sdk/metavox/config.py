"""The engine's settings, and the facts about a loaded engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metavox.errors import InvalidArgument, Neutral, shown, unknown_names
from metavox.values import LARGEST, as_float, as_int

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("int8", "int4")
KV_CACHE_DTYPES = ("auto", "int8")
MOST_DRAFTED = 64  # tokens of a draft, or of the run that is looked for
SPECULATIVE = {"method": "ngram", "num_speculative_tokens": None, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
ALIASES = {"half": "float16", "float": "float32"}  # vLLM's
# vLLM's arguments that its users write out and that we do not have. Nothing is captured in graphs here, so
# `enforce_eager` is honoured either way; what is logged is the caller's own affair, so `disable_log_stats` too.
NEUTRAL: Neutral = {
    "tensor_parallel_size": (1,),
    "pipeline_parallel_size": (1,),
    "data_parallel_size": (1,),
    "trust_remote_code": (False,),
    "load_format": ("auto", "safetensors"),
    "tokenizer_mode": ("auto",),
    "skip_tokenizer_init": (False,),
    "cpu_offload_gb": (0,),
    "enforce_eager": (False, True),
    "enable_chunked_prefill": (True, None),
    "enable_lora": (False,),
    "disable_log_stats": (False, True),
    "disable_custom_all_reduce": (False, True),
    "download_dir": (None,),
    "hf_overrides": (None, {}),
    "generation_config": ("auto",),
    "hf_token": (None,),
    "limit_mm_per_prompt": (None, {}),
    "runner": ("auto", "generate"),
    "served_model_name": (None,),
    "task": ("auto", "generate"),
}
# Other names for what we have: vLLM's, transformers' and llama.cpp's.
INSTEAD = {
    "device_map": "device=...",
    "load_in_4bit": "quantization='int4'",
    "load_in_8bit": "quantization='int8'",
    "model_path": "model=...",
    "n_batch": "max_num_batched_tokens=...",
    "n_ctx": "max_model_len=...",
    "n_threads": "OMP_NUM_THREADS into the environment, or call torch.set_num_threads,",
    "num_gpu_blocks_override": "num_kv_blocks=...",
    "speculative_model": "speculative_config={'method': 'ngram', 'num_speculative_tokens': 4}",
    "torch_dtype": "dtype=...",
}
NEUTRAL_FOR_GENERATE: Neutral = {"lora_request": (None,), "priority": (None, 0)}


@dataclass(frozen=True)
class EngineConfig:
    """The arguments of ``LLM(...)``, in vLLM's names; see docs/engine.md. None lets the engine choose."""

    model: str | os.PathLike[str]
    tokenizer: str | os.PathLike[str] | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int = 16
    num_kv_blocks: int | None = None
    kv_cache_memory_bytes: int | None = None
    gpu_memory_utilization: float = 0.9
    enable_prefix_caching: bool = True
    quantization: Literal["int8", "int4"] | None = None
    quantize_lm_head: bool = False
    kv_cache_dtype: str = "auto"
    speculative_config: Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()
        self._check_choices()
        object.__setattr__(self, "speculative_config", _speculative(self.speculative_config))
        if self.num_kv_blocks is not None and self.kv_cache_memory_bytes is not None:
            raise InvalidArgument("num_kv_blocks and kv_cache_memory_bytes say the same thing; give one.")

    def _check_names(self) -> None:
        if not _is_path(self.model):
            raise InvalidArgument(f"model must be a hub id or a folder, and is {shown(self.model)}.")
        if self.tokenizer is not None and not _is_path(self.tokenizer):
            raise InvalidArgument(f"tokenizer must be a folder, and is {shown(self.tokenizer)}.")
        if self.revision is not None and not (isinstance(self.revision, str) and self.revision):
            raise InvalidArgument(f"revision must be a branch, tag or commit, and is {shown(self.revision)}.")
        if not isinstance(self.device, str):
            raise InvalidArgument(f"device must be a name such as 'cpu', and is {shown(self.device)}.")
        dtype = str(self.dtype).removeprefix("torch.")
        object.__setattr__(self, "dtype", ALIASES.get(dtype, dtype))
        if self.dtype not in DTYPES:
            raise InvalidArgument(f"dtype must be one of {', '.join(DTYPES)}, and is {shown(dtype)}.")

    def _check_numbers(self) -> None:
        for name in (
            "max_model_len", "max_num_seqs", "max_num_batched_tokens",
            "block_size", "num_kv_blocks", "kv_cache_memory_bytes",
        ):  # fmt: skip
            given = getattr(self, name)
            if given is None:
                continue
            value = as_int(given)
            if value is None or not 1 <= value <= LARGEST:
                raise InvalidArgument(f"{name} must be a positive integer below 2**63, and is {shown(given)}.")
            object.__setattr__(self, name, value)
        share = as_float(self.gpu_memory_utilization)
        if share is None or not 0 < share <= 1:
            raise InvalidArgument(
                f"gpu_memory_utilization must be in (0, 1], and is {shown(self.gpu_memory_utilization)}."
            )
        seed = as_int(self.seed)
        if seed is None or not -LARGEST <= seed <= LARGEST:
            raise InvalidArgument(f"seed must be an integer of 64 bits, and is {shown(self.seed)}.")
        object.__setattr__(self, "gpu_memory_utilization", share)
        object.__setattr__(self, "seed", seed)

    def _check_choices(self) -> None:
        for name in ("enable_prefix_caching", "quantize_lm_head"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgument(f"{name} must be True or False, and is {shown(getattr(self, name))}.")
        if self.quantization is not None and self.quantization not in QUANTIZATIONS:
            raise InvalidArgument(
                f"quantization must be None, 'int8' or 'int4', and is {shown(self.quantization)}. It is made of "
                "the weights as they are loaded; weights that are stored quantized are not read."
            )
        if self.quantize_lm_head and self.quantization is None:
            raise InvalidArgument("quantize_lm_head needs quantization='int8' or 'int4'.")
        if self.kv_cache_dtype not in KV_CACHE_DTYPES:
            raise InvalidArgument(f"kv_cache_dtype must be auto or int8, and is {shown(self.kv_cache_dtype)}.")


def _speculative(given: object) -> Mapping[str, Any] | None:
    """A whole speculative_config, checked; None for none."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"speculative_config must be a dict or None, and is {shown(given)}.")
    config = {**SPECULATIVE, **given}
    if config["method"] != "ngram":  # before the names, which are another method's
        raise InvalidArgument(f"speculative_config: method must be 'ngram', and is {shown(config['method'])}.")
    complaint = unknown_names("speculative_config", map(str, given), SPECULATIVE)
    if complaint:
        raise InvalidArgument(complaint)
    for name in ("num_speculative_tokens", "prompt_lookup_max", "prompt_lookup_min"):
        value = as_int(config[name])
        if value is None or not 1 <= value <= MOST_DRAFTED:
            given = shown(config[name])
            raise InvalidArgument(
                f"speculative_config: {name} must be an integer from 1 to {MOST_DRAFTED}, and is {given}."
            )
        config[name] = value
    if config["prompt_lookup_min"] > config["prompt_lookup_max"]:
        raise InvalidArgument("speculative_config: prompt_lookup_min must not be above prompt_lookup_max.")
    return config


@dataclass(frozen=True)
class EngineInfo:
    """What is loaded and where it runs; fixed for the life of an ``LLM``.

    `model_id` is the hub id or the bundled name, and None for a local folder. `dtype` is torch's name without
    the module ("bfloat16"). `quantization` is that of the weights, None where they are used as they are.
    """

    requested_model: str
    model_id: str | None
    architecture: str
    num_parameters: int
    dtype: str
    device: str
    max_model_len: int
    num_kv_blocks: int
    engine_version: str
    engine: str = "metavox"
    quantization: str | None = None


def _is_path(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))
