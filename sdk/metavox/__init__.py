"""MetaVox: a small, fast LLM inference SDK."""

TYPE_CHECKING = False  # checkers take it for True; importing typing would be most of what importing this costs

if TYPE_CHECKING:
    from metavox import telemetry
    from metavox.async_llm import AsyncLLM
    from metavox.errors import MetaVoxError
    from metavox.llm import LLM
    from metavox.outputs import CompletionChunk, RequestOutput
    from metavox.params import SamplingParams
    from metavox.structured import StructuredOutputsParams
    from metavox.telemetry.instrument import instrument

__all__ = [
    "LLM",
    "AsyncLLM",
    "CompletionChunk",
    "MetaVoxError",
    "RequestOutput",
    "SamplingParams",
    "StructuredOutputsParams",
    "instrument",
    "telemetry",
]

_MODULES = {
    "LLM": "metavox.llm",
    "AsyncLLM": "metavox.async_llm",
    "CompletionChunk": "metavox.outputs",
    "MetaVoxError": "metavox.errors",
    "RequestOutput": "metavox.outputs",
    "SamplingParams": "metavox.params",
    "StructuredOutputsParams": "metavox.structured",
    "instrument": "metavox.telemetry.instrument",
}


def __getattr__(name: str) -> object:
    """Load each name when it is first used: importing the package costs what an empty module costs."""
    from importlib import import_module

    if name == "telemetry":
        return import_module("metavox.telemetry")
    if name == "__version__":
        return import_module("importlib.metadata").version("metavox")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """What completion offers: what is loaded late too, and nothing that was only imported."""
    return [*__all__, "__version__"]
