"""The empirical audit of releases: distinguishing games that the shipped code passes and planted faults do not."""

from metavox_privacy.audit.result import AuditReport, Game, Plant
from metavox_privacy.audit.run import TRIALS, Progress, audit

__all__ = ["TRIALS", "AuditReport", "Game", "Plant", "Progress", "audit"]
