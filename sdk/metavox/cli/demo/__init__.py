"""``metavox demo``: the whole path on one machine, in a home of its own."""

from metavox.cli.demo.command import demo

__all__ = ["demo"]
