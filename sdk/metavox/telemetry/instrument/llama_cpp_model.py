"""A loaded ``llama_cpp.Llama`` -> Model, from the GGUF's metadata and the settings it was loaded with."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from metavox.telemetry.hardware import Hardware, detect, undescribed, visible
from metavox.telemetry.instrument.described import Model, local_name

_ARCHITECTURES = {
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "gpt-oss": "GptOssForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "granite": "GraniteForCausalLM",
    "llama": "LlamaForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3moe": "Qwen3MoeForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}
_UNQUANTIZED = {"0": "float32", "1": "float16", "32": "bfloat16"}  # general.file_type
_IN_HUB_CACHE = re.compile(r"[/\\]models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]")
_known: WeakKeyDictionary[Any, Model] = WeakKeyDictionary()


def describe(llama: Any) -> Model:
    """What is loaded; looked up once. Raises ValueError when it was closed before."""
    found = _known.get(llama)
    if found is None:
        found = _known[llama] = _describe(llama)
    return found


def _describe(llama: Any) -> Model:
    library = import_module("llama_cpp")
    if not llama.model:  # its library would follow the null pointer
        raise ValueError("The model was closed.")
    metadata: Mapping[str, str] = llama.metadata
    architecture = metadata.get("general.architecture")
    return Model(
        name=model_name(str(llama.model_path)),
        architecture=_ARCHITECTURES.get(architecture or "", architecture),
        num_parameters=int(library.llama_model_n_params(llama.model)),
        number_format=_UNQUANTIZED.get(metadata.get("general.file_type", ""), "gguf"),
        hardware=hardware(
            int(llama.model_params.n_gpu_layers),
            int(metadata.get(f"{architecture}.block_count", 0)),
            can_offload=bool(library.llama_supports_gpu_offload()),
            splits=int(llama.model_params.split_mode) != library.LLAMA_SPLIT_MODE_NONE,
        ),
    )


def model_name(path: str) -> str:
    """The hub id of a file in the hub's cache, without the suffix that says that it is GGUF; else the path."""
    found = _IN_HUB_CACHE.search(path)
    return f"{found[1]}/{found[2]}".removesuffix("-GGUF") if found else local_name(path)


def hardware(gpu_layers: int, num_layers: int, *, can_offload: bool, splits: bool = True) -> Hardware:
    """What it runs on: a processor, or an accelerator that holds all layers. What is split is nobody's.

    Args:
        gpu_layers: How many layers were to be offloaded; negative for all.
        num_layers: How many the model has, without its output layer.
        can_offload: Whether the library was built for an accelerator.
        splits: Whether all accelerators that the process may use share the layers, as they do unless told.
    """
    if not can_offload or gpu_layers == 0:
        return detect("cpu")
    if 0 < gpu_layers <= num_layers:
        return undescribed()
    if sys.platform == "darwin":
        return detect("mps")
    return detect(visible("cuda") if splits else "cuda")
