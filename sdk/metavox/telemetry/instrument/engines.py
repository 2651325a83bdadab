"""Which engines are instrumented in this process."""

from __future__ import annotations

from collections.abc import Callable

_undo: dict[str, Callable[[], None]] = {}


def instrumented() -> frozenset[str] | set[str]:
    """The engines, in the schema's words, whose requests are contributed by their own instrumentation here."""
    return set(_undo)


def installed(engine: str, undo: Callable[[], None]) -> None:
    """An engine was patched; `undo` takes the patches back."""
    _undo[engine] = undo


def remove(engine: str) -> None:
    """Take an engine's patches back; nothing where there are none."""
    undo = _undo.pop(engine, None)
    if undo is not None:
        undo()
