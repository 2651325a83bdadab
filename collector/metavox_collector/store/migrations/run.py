"""Run the migrations on an open connection; Alembic without its command line and its configuration file.

A new database is made by the same steps that bring an old one up to date, so there is one description of the tables
that SQL knows. All steps are one transaction, the caller's: what fails leaves nothing half done, also on SQLite.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

HEAD = "0001"
"""The revision that this software works with."""

_HERE = Path(__file__).parent
_LOCK = 0x6D65_7461  # "meta"; of all databases of a server, who upgrades this one waits


def revision(connection: Connection) -> str | None:
    """The revision of a database; None when no migration has ever run on it."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, to: str = HEAD, *, versions: Path | None = None) -> None:
    """Bring a database to a revision, from none or an earlier one; nothing happens when it is there.

    Of several that upgrade at the same time the first does it, and the others wait and find it done.

    Args:
        connection: In a transaction that writes; the caller commits.
        to: The revision.
        versions: A folder with further migrations, beside ours.
    """
    _wait_for_others(connection)
    command.upgrade(_config(connection, versions), to)


def downgrade(connection: Connection, to: str = "base", *, versions: Path | None = None) -> None:
    """Bring a database back to an earlier revision; ``base`` is before the first. Arguments as in upgrade."""
    _wait_for_others(connection)
    command.downgrade(_config(connection, versions), to)


def _wait_for_others(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE excludes them
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _config(connection: Connection, versions: Path | None) -> Config:
    config = Config()
    folders = [str(folder) for folder in (_HERE / "versions", versions) if folder]
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(folders).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
