"""``metavox.instrument``: spans and contributions for engines that emit none."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metavox.errors import InvalidArgument
from metavox.telemetry.contribution import Contribution
from metavox.telemetry.foreign.instrumented import patch_once, remove
from metavox.telemetry.instrument.observer import Observer


@dataclass(frozen=True)
class Library:
    """An engine that can be instrumented.

    Attributes:
        engine: Its name in the schema.
        distribution: What installs it.
        module: Ours, with a function ``patch(observer)`` that gives back what undoes it.
    """

    engine: str
    distribution: str
    module: str


LIBRARIES: Mapping[str, Library] = {
    name: Library(engine, distribution, f"metavox.telemetry.instrument.{module}")
    for name, engine, distribution, module in (
        ("transformers", "transformers", "transformers", "transformers"),
        ("vllm", "vllm", "vllm", "vllm"),
        ("llama_cpp", "llama.cpp", "llama-cpp-python", "llama_cpp"),
    )
}
"""By the name of the library's Python module."""


def instrument(library: str, *, contribution: Contribution | None = None) -> None:
    """Have an engine's requests told: to your OpenTelemetry provider, and, if its user said yes, as a contribution.

    Loads the engine. A second call changes nothing. The engine's own behaviour stays what it was, and while nobody
    wants to know, so does its speed.

    Args:
        library: "transformers", "vllm" or "llama_cpp".
        contribution: Another pipeline than this user's own.

    Raises:
        InvalidArgument: There is no such engine, it is not installed, or its version is not known.
    """
    found = _library(library)
    patch: Callable[[Observer], Callable[[], None]] = importlib.import_module(found.module).patch
    try:
        patch_once(found.engine, lambda: patch(Observer(found.engine, contribution)))
    except ImportError as error:
        raise InvalidArgument(f"{library} cannot be loaded; pip install {found.distribution}. {error}") from error
    except AttributeError as error:
        raise InvalidArgument(f"This version of {library} is not known; pip install metavox -U. {error}") from error


def uninstrument(library: str) -> None:
    """Give the engine its own methods back. Raises InvalidArgument where there is no such engine."""
    remove(_library(library).engine)


def _library(name: str) -> Library:
    if name not in LIBRARIES:
        raise InvalidArgument(f"library must be one of {', '.join(LIBRARIES)}, and is {name!r}.")
    return LIBRARIES[name]
