"""The command line: one file for each group of verbs."""

from metavox_collector.cli.main import main

__all__ = ["main"]
