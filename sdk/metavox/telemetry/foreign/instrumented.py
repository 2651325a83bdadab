"""Which engines are instrumented in this process."""

from __future__ import annotations

from collections.abc import Callable

_undo: dict[str, Callable[[], None]] = {}


def instrumented() -> set[str]:
    """The engines, in the schema's words, whose requests are contributed by their own instrumentation here."""
    return set(_undo)


def patch_once(engine: str, patch: Callable[[], Callable[[], None]]) -> None:
    """Patch an engine that is not; `patch` gives back what takes the patches back. Raises what `patch` raises.

    Two threads may come at once. Neither waits for the other, which could be within an import that this one needs.
    """

    def claim() -> None:
        """Nothing to take back yet."""

    if _undo.setdefault(engine, claim) is not claim:
        return
    try:
        _undo[engine] = patch()
    except BaseException:
        _undo.pop(engine, None)
        raise


def remove(engine: str) -> None:
    """Take an engine's patches back; nothing where there are none."""
    undo = _undo.pop(engine, None)
    if undo is not None:
        undo()
