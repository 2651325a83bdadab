"""What a database is born as, and what it must be to be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, inspect, select

from metavox_collector.errors import WrongDatabase
from metavox_collector.store import migrations, staged
from metavox_collector.store.tables import Tables
from metavox_privacy.schema import Schema

_KIND = {
    True: "this database is a sandbox; add --sandbox, or give another database",
    False: "this database is for production; leave out --sandbox, or give another database",
}


def born(connection: Connection, tables: Tables, schema: Schema, *, sandbox: bool, yearly_cap: int) -> Row[Any]:
    """What a database was born as; one that is not there yet is made, and that written down.

    Raises:
        WrongDatabase: if it is of the other kind, of another version of the software, or another program's.
    """
    if not inspect(connection).has_table(tables.collector.name):
        _require_empty(connection)
        migrations.upgrade(connection)
    migrations.require_current(connection)
    row = connection.execute(select(tables.collector)).one_or_none()
    if row is None:
        facts = {"id": 1, "sandbox": sandbox, "yearly_cap": yearly_cap, **_facts(schema)}
        connection.execute(tables.collector.insert().values(**facts))
        row = connection.execute(select(tables.collector)).one()
    if row.sandbox != sandbox:
        raise WrongDatabase(_KIND[row.sandbox])
    return row


def adopt(connection: Connection, tables: Tables, schema: Schema, facts: Row[Any]) -> None:
    """Have the database stage under this schema from now on.

    Raises:
        WrongDatabase: if reports are staged under another.
    """
    if facts.schema_fingerprint == schema.fingerprint:
        return
    if not staged.is_empty(connection):
        raise WrongDatabase(
            f"reports are staged under schema version {facts.schema_version}, which differs from this software's; "
            "close their weeks with the version of the software that received them"
        )
    connection.execute(tables.collector.update().values(**_facts(schema)))


def require_file(engine: Engine) -> None:
    """Refuse an SQLite database that is not there, which SQLite would make; raises WrongDatabase."""
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
        raise _absent(engine)


def require_there(connection: Connection, tables: Tables) -> None:
    """Refuse a database that is no collector's; raises WrongDatabase."""
    if not inspect(connection).has_table(tables.collector.name):
        raise _absent(connection.engine)


def _require_empty(connection: Connection) -> None:
    others = set(inspect(connection).get_table_names()) - {"alembic_version"}
    if others or migrations.revision(connection) is not None:
        raise WrongDatabase("the database holds tables of another program; give one that is empty, or is not there")


def _absent(engine: Engine) -> WrongDatabase:
    shown = engine.url.render_as_string(hide_password=True)
    return WrongDatabase(f"there is no collector's database at {shown}; 'metavox-collector serve' makes one")


def _facts(schema: Schema) -> dict[str, Any]:
    return {"schema_version": schema.version, "schema_fingerprint": schema.fingerprint}
