"""Run the migrations on an open connection; Alembic without its command line and its configuration file.

A new database is made by the same steps that bring an old one up to date, so there is one description of the tables
that SQL knows. All steps are one transaction, the caller's, which excludes every other writer: of several that
upgrade at the same time the first does it, and the others find it done. What fails leaves nothing half done.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from metavox_collector.errors import WrongDatabase

HEAD = "0002"
"""The revision that this software works with."""

_HERE = Path(__file__).parent


def revision(connection: Connection) -> str | None:
    """The revision of a database; None when no migration has ever run on it."""
    return MigrationContext.configure(connection).get_current_revision()


def require_current(connection: Connection) -> None:
    """Refuse a database that this software cannot work with as it is.

    Raises:
        WrongDatabase: if it is of an earlier or a later version, or was never made by a migration.
    """
    found = revision(connection)
    if found == HEAD:
        return
    if found is None:
        raise WrongDatabase("no version of this software has made this database; give another one")
    if found in known():
        raise WrongDatabase("the database is of an earlier version; run: metavox-collector db upgrade")
    raise WrongDatabase(
        f"a later version has upgraded the database (to {found}); install that version or a newer one"
    )


def upgrade(connection: Connection, to: str = HEAD, *, versions: Path | None = None) -> None:
    """Bring a database to a revision, from none or an earlier one; nothing happens when it is there.

    Args:
        connection: In a transaction that excludes other writers; the caller commits.
        to: The revision.
        versions: A folder with further migrations, beside ours.
    """
    command.upgrade(_config(connection, versions), to)


def downgrade(connection: Connection, to: str = "base", *, versions: Path | None = None) -> None:
    """Bring a database back to an earlier revision; ``base`` is before the first. Arguments as in upgrade."""
    command.downgrade(_config(connection, versions), to)


def known() -> set[str]:
    """Every revision that this software knows."""
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config(connection: Connection | None = None, versions: Path | None = None) -> Config:
    config = Config()
    folders = [str(folder) for folder in (_HERE / "versions", versions) if folder]
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(folders).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
