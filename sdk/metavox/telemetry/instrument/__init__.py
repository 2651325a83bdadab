"""Spans and contributions for engines that emit none: ``metavox.instrument("transformers")`` and others."""

from metavox.telemetry.instrument.api import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
