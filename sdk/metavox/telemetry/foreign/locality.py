"""Which engine answered, and whether it ran on this machine. Where that is not clear, it did not."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metavox.telemetry.foreign.aliases import ADDRESSES, PROVIDERS, first
from metavox_privacy.fields import OTHER, UNKNOWN
from metavox_privacy.schema import SCHEMA

ENGINE = "metavox.engine.name"
OURS = "metavox"
ENGINES = frozenset(SCHEMA.dimension["engine"].vocabulary) - {OTHER, UNKNOWN, OURS}
"""Engines whose requests are counted from spans of others; MetaVox counts its own itself, wherever it runs."""

SPELLINGS: Mapping[str, str] = {
    "huggingface_transformers": "transformers",
    "llama-cpp": "llama.cpp",
    "llama-cpp-python": "llama.cpp",
    "llama_cpp": "llama.cpp",
    "llamacpp": "llama.cpp",
    "mlx-lm": "mlx",
    "mlx_lm": "mlx",
    "tensorrt_llm": "tensorrt-llm",
    "trtllm": "tensorrt-llm",
}
"""Providers' names, lower case, that mean an engine of the schema."""

MODULES: Mapping[str, str] = {
    "transformers": "transformers",
    "vllm": "vllm",
    "llama.cpp": "llama_cpp",
    "sglang": "sglang",
    "tensorrt-llm": "tensorrt_llm",
    "mlx": "mlx_lm",
}
"""The Python module of each engine that runs in the program's own process. Ollama is a server, always."""

PROTOCOLS = frozenset(("openai",))
"""Providers' names that say which protocol was spoken, and not by whom: most local servers speak OpenAI's."""

_END_OF_PLACE = re.compile(r"[/?#\\]")
_OWN_SCOPES: Mapping[str, str] = {"vllm": "vllm", "sglang": "sglang"}  # tracers of the engines themselves

WHOLE_CALLS = frozenset(
    (
        "openlit.instrumentation.transformers",
        "openlit.instrumentation.vllm",
        "opentelemetry.instrumentation.transformers",  # OpenLLMetry
    )
)
"""Instrumentations whose span is one call with any number of prompts: its length is no request's."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine on this machine.

    Attributes:
        name: In the schema's vocabulary.
        is_in_process: Whether it runs in this process, so that its library's version is what ran.
        tells_itself: Whether the span is the engine's own, and not that of a client.
    """

    name: str
    is_in_process: bool
    tells_itself: bool = False


def engine_here(
    attributes: Mapping[str, Any],
    scope: str,
    *,
    behind: str | None = None,
    is_loaded: Callable[[str], bool] = sys.modules.__contains__,
) -> Engine | None:
    """The engine that answered on this machine; None when it was a service elsewhere, or that is not told.

    Args:
        attributes: The span's.
        scope: The name of the tracer.
        behind: The engine behind a protocol that does not say, when the program knows it.
        is_loaded: Whether a Python module is loaded.
    """
    if scope in WHOLE_CALLS:
        return None
    own = _OWN_SCOPES.get(scope.partition(".")[0].partition(" ")[0])
    if own is not None:
        return Engine(own, is_in_process=True, tells_itself=True)
    named = _engine(attributes.get(ENGINE))
    name = named or _provider(attributes, behind)
    if name is None:
        return None
    is_in_process = name in MODULES and is_loaded(MODULES[name])
    addresses = [attributes[each] for each in ADDRESSES if each in attributes]
    if addresses:  # what one of them contradicts is not clear
        return Engine(name, is_in_process) if all(map(is_this_machine, addresses)) else None
    # Without an address a library in this process, or somebody who knows, says that it was here.
    return Engine(name, is_in_process) if is_in_process or named or name == behind else None


def _engine(value: object) -> str | None:
    name = value.lower() if isinstance(value, str) else ""
    name = SPELLINGS.get(name, name)
    return name if name in ENGINES else None


def _provider(attributes: Mapping[str, Any], behind: str | None) -> str | None:
    if ENGINE in attributes:
        return None
    value = first(attributes, PROVIDERS)
    return behind if isinstance(value, str) and value.lower() in PROTOCOLS else _engine(value)


def is_this_machine(address: object) -> bool:
    """Whether a host, ``host:port``, URL or socket's path can only mean this machine."""
    if not isinstance(address, str):
        return False
    if address.startswith(("/", "unix:")):
        return not address.startswith("//")  # which is a URL without its scheme
    host = _host(address.strip().lower())
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


def _host(address: str) -> str:
    place = address.partition("://")[2] or address
    place = _END_OF_PLACE.split(place, maxsplit=1)[0].rpartition("@")[2]
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place if place.count(":") > 1 else place.partition(":")[0]
