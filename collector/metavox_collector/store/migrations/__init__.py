"""How a database comes to be as this version of the software needs it, step by step."""

from metavox_collector.store.migrations.run import HEAD, downgrade, revision, upgrade

__all__ = ["HEAD", "downgrade", "revision", "upgrade"]
