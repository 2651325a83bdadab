"""Statements given to the database's driver itself, where each group of reports waits for some.

On a connection of SQLAlchemy's and in its transaction; for what is asked a hundred times a second, SQLAlchemy's own
execution costs more than the database does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Connection


def ask(connection: Connection, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
    """All rows that a statement gives, as tuples; none if it is of a kind that gives no rows.

    Args:
        connection: The connection.
        statement: With the driver's own marks, ``?`` in SQLite and ``%s`` in PostgreSQL.
        parameters: One for each mark.
    """
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement, parameters)
        return [*cursor.fetchall()] if cursor.description else []
