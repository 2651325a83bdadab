"""The command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metavox.cli.main import main

if TYPE_CHECKING:
    from metavox.cli.verbs import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> object:
    """Import the verbs only for those who use them; ``metavox --version`` does not."""
    if name == "app":
        from metavox.cli.verbs import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
