"""How a database comes to be as this version of the software needs it, step by step."""

from metavox_collector.store.migrations.run import HEAD, downgrade, known, require_current, revision, upgrade

__all__ = ["HEAD", "downgrade", "known", "require_current", "revision", "upgrade"]
