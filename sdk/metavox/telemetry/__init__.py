"""Telemetry: what MetaVox records of its requests, and what of it may be contributed. Off until you say yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metavox.telemetry.api import configure, consent, status

if TYPE_CHECKING:
    from metavox.telemetry.foreign.processor import ContributionProcessor

__all__ = ["ContributionProcessor", "configure", "consent", "status"]


def __getattr__(name: str) -> object:
    """Import the processor, and with it OpenTelemetry's SDK, only for those who use it."""
    if name == "ContributionProcessor":
        from metavox.telemetry.foreign.processor import ContributionProcessor

        return ContributionProcessor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
