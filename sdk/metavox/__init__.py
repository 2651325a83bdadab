"""MetaVox: a small, fast LLM inference SDK."""

from importlib import import_module
from typing import TYPE_CHECKING

from metavox.errors import MetaVoxError
from metavox.llm import LLM
from metavox.outputs import RequestOutput
from metavox.params import SamplingParams

if TYPE_CHECKING:
    from metavox import telemetry

__all__ = ["LLM", "MetaVoxError", "RequestOutput", "SamplingParams", "telemetry"]


def __getattr__(name: str) -> object:
    """Load ``metavox.telemetry``, and the catalogs that it reads, only for those who name it."""
    if name == "telemetry":
        return import_module("metavox.telemetry")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
