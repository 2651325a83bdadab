"""MetaVox: a small, fast LLM inference SDK."""

from importlib import import_module
from typing import TYPE_CHECKING

from metavox.errors import MetaVoxError
from metavox.llm import LLM
from metavox.outputs import CompletionChunk, RequestOutput
from metavox.params import SamplingParams
from metavox.structured import StructuredOutputsParams

if TYPE_CHECKING:
    from metavox import telemetry
    from metavox.async_llm import AsyncLLM

__all__ = [
    "LLM",
    "AsyncLLM",
    "CompletionChunk",
    "MetaVoxError",
    "RequestOutput",
    "SamplingParams",
    "StructuredOutputsParams",
    "telemetry",
]


def __getattr__(name: str) -> object:
    """Load what brings asyncio, or the catalogs of telemetry, only for those who name it."""
    if name == "telemetry":
        return import_module("metavox.telemetry")
    if name == "AsyncLLM":
        return import_module("metavox.async_llm").AsyncLLM
    if name == "__version__":
        return import_module("importlib.metadata").version("metavox")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What completion offers: what is loaded late too, and nothing that was only imported."""
    return [*__all__, "__version__"]
