"""Attacks on releases: what somebody who tries can learn of one installation, held against what ρ allows."""

from metavox_collector.proof.attacks.parameters import THOROUGH, Effort, Parameters
from metavox_collector.proof.attacks.run import attack
from metavox_collector.proof.attacks.verdicts import AttackReport, Gate, Measured

__all__ = ["THOROUGH", "AttackReport", "Effort", "Gate", "Measured", "Parameters", "attack"]
