"""OpenTelemetry's instrumentors of these engines, which ``opentelemetry-instrument`` finds by their entry points.

They load no engine: the patch waits until the program loads it itself. Needs the extra ``instrument``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

# Their module tells type checkers to ignore it, so its class is unknown to them.
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from wrapt import when_imported

from metavox.telemetry.instrument.api import LIBRARIES, instrument, uninstrument
from metavox.telemetry.instrument.observer import quietly


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]
    """One engine. It is instrumented when it is loaded, and at once when it is already."""

    library: str
    module: str
    versions: str

    def instrumentation_dependencies(self) -> Collection[str]:
        """The engine's distribution, with the versions whose methods are known."""
        return (f"{LIBRARIES[self.library].distribution} {self.versions}",)

    def _instrument(self, **kwargs: Any) -> None:
        self._is_wanted = True

        @when_imported(self.module)
        def loaded(module: object) -> None:
            if self._is_wanted:
                quietly(lambda: instrument(self.library))

    def _uninstrument(self, **kwargs: Any) -> None:
        self._is_wanted = False
        uninstrument(self.library)


class TransformersInstrumentor(_Instrumentor):
    """transformers."""

    library, module, versions = "transformers", "transformers.generation.utils", ">= 4.56"


class VLLMInstrumentor(_Instrumentor):
    """vLLM."""

    library, module, versions = "vllm", "vllm.entrypoints.llm", ">= 0.8"


class LlamaCppInstrumentor(_Instrumentor):
    """llama-cpp-python."""

    library, module, versions = "llama_cpp", "llama_cpp.llama", ">= 0.3"
