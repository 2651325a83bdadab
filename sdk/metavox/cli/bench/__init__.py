"""``metavox bench``: how fast a model runs on this machine, and how fast it could."""

from metavox.cli.bench.command import bench

__all__ = ["bench"]
