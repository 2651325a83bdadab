"""A backup -> a database that was not there before, never one that would release a week for the second time.

A ledger that is older than the last close knows nothing of what was released since: it would permit the same weeks
again and spend the same budget twice. So whoever restores says where the ledger ended last, which every backup,
every check and every dataset states; a backup that ends elsewhere is refused.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from metavox_collector.errors import NotAllowed, TargetExists
from metavox_collector.operate import pg_tools
from metavox_collector.operate.files import new_file
from metavox_collector.settings import Settings
from metavox_collector.store import Database, copies, inspection, migrations
from metavox_privacy.budget import GENESIS
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

_STAGED = re.compile(r"\bstaged_cell_\d|TABLE DATA \S+ deleted_report\b")


def restore(
    settings: Settings, schema: Schema, file: Path, *, head: str, with_staged: bool, now: datetime
) -> Database:
    """Make the database that the settings name from a backup; it is open, and of this software's revision.

    Args:
        settings: They name the target.
        schema: Under which reports are staged.
        file: The backup.
        head: Where the ledger ended last, 64 hexadecimal digits.
        with_staged: Whether reports in the backup are restored as well; those that are too old by now are not.
        now: The time.

    Raises:
        TargetExists: if there is a database already.
        NotAllowed: if the backup's ledger ends elsewhere, a later version of the software made it, or PostgreSQL's
            programs are not installed.
        CollectorError: if it cannot be done.
    """
    if settings.db.startswith("sqlite"):
        _into_file(settings, file, head, with_staged=with_staged)
    else:
        _into_server(settings, file, head, with_staged=with_staged)
    Database.upgrade(settings.db, busy_timeout=settings.busy_timeout_s)
    database = Database.existing(settings.db, schema, busy_timeout=settings.busy_timeout_s)
    with database.write() as transaction:
        transaction.destroy_staged_before(Week.of(now - settings.accepted_for))
    return database


def _into_file(settings: Settings, file: Path, head: str, *, with_staged: bool) -> None:
    if not file.is_file():
        raise NotAllowed(f"there is no backup at {file}")
    with new_file(copies.file_of(settings.db)) as part:
        if (copies.ledger_head(file) or GENESIS) != head:
            raise NotAllowed(_ELSEWHERE)
        if copies.revision(file) not in migrations.known():
            raise NotAllowed(_LATER)
        copies.copy(file, part, with_staged=with_staged)


def _into_server(settings: Settings, file: Path, head: str, *, with_staged: bool) -> None:
    if not file.is_file():
        raise NotAllowed(f"there is no backup at {file}")
    if inspection.is_there(settings.db, settings.busy_timeout_s):
        raise TargetExists(
            "the database holds a collector's tables; nothing is overwritten: make a new one (createdb)"
        )
    for program in ("pg_restore", "psql"):
        pg_tools.version_of(program)
    entries = [line for line in pg_tools.contents(file) if with_staged or not _STAGED.search(line)]
    wanted = pg_tools.Wanted(None if head == GENESIS else head, migrations.known())
    try:
        pg_tools.restore(pg_tools.Target.of(settings.db), file, entries, wanted)
    except pg_tools.OtherLedger:
        raise NotAllowed(_ELSEWHERE) from None
    except pg_tools.OtherRevision:
        raise NotAllowed(_LATER) from None


_ELSEWHERE = (
    "the backup's ledger does not end where you say that the last one ended: weeks were closed since it was made, "
    "and could be released again; nothing was restored: take the backup that was made after the last close"
)
_LATER = (
    "a later version of this software made the backup; nothing was restored: install that version or a newer one"
)
