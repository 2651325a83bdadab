"""What a span of others does not tell of where it ran: hardware, system, and the version of the engine."""

from __future__ import annotations

import importlib.metadata
import sys
from functools import lru_cache

from metavox.telemetry.foreign.locality import Engine
from metavox.telemetry.hardware import detect, undescribed
from metavox.telemetry.spans import hardware_attributes, known
from metavox_privacy.span import AttributeValue

DISTRIBUTIONS = {
    "transformers": "transformers",
    "vllm": "vllm",
    "llama.cpp": "llama_cpp_python",
    "sglang": "sglang",
    "tensorrt-llm": "tensorrt_llm",
    "mlx": "mlx-lm",
}
"""The distribution of each engine that runs in the program's own process."""

_ON_ITS_GPU = frozenset(("vllm", "sglang", "tensorrt-llm"))


def surroundings(engine: Engine) -> dict[str, AttributeValue]:
    """The attributes of the schema that this machine says of an engine on it."""
    device = _device(engine)
    hardware = hardware_attributes(detect(device) if device else undescribed())
    if device is None:
        hardware["metavox.hw.count"] = None  # of nobody knows what
    version = engine_version(engine.name) if engine.is_in_process else None
    return known({**hardware, "metavox.engine.version": version})


@lru_cache(maxsize=64)
def engine_version(engine: str) -> str | None:
    """The version of an engine's library, without loading it; None when it is not installed."""
    try:
        return importlib.metadata.version(DISTRIBUTIONS[engine])
    except (KeyError, importlib.metadata.PackageNotFoundError):
        return None


def _device(engine: Engine) -> str | None:
    """PyTorch's name of what it ran on, where there is only one possibility. Loads nothing."""
    torch = sys.modules.get("torch")
    if not engine.is_in_process or torch is None or engine.name not in (*_ON_ITS_GPU, "transformers"):
        return None
    if engine.name == "transformers":
        other = torch.cuda.is_available() or torch.backends.mps.is_available()
        return None if other else "cpu"  # with an accelerator it may have been either
    return "cuda" if torch.cuda.is_initialized() else None
