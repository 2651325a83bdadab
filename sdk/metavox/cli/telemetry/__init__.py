"""``metavox telemetry``: one verb for each thing a person may want."""

from metavox.cli.telemetry.verbs import app

__all__ = ["app"]
