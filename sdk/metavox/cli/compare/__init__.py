"""``metavox compare``: where this machine stands among those that contribute."""

from metavox.cli.compare.command import compare

__all__ = ["compare"]
