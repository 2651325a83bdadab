"""Reports -> staged rows: bounded, many requests in one transaction, committed before anybody is told so."""

from metavox_collector.stage.stager import REASONS, Busy, Stager, refusal

__all__ = ["REASONS", "Busy", "Stager", "refusal"]
