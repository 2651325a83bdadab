"""Homes for the measured programs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox.telemetry.journal.tally import Tally
from metavox_privacy.anonymize import anonymize
from metavox_privacy.consent import Answer
from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import notice_hash
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span


def said_yes(folder: Path) -> Home:
    """A home of somebody who said yes a month ago, with a report of last week that is due."""
    home, now = Home(folder, folder), datetime.now(timezone.utc)
    home.record(Answer(frozenset(PURPOSES), now - timedelta(days=30), notice_hash(SCHEMA), SCHEMA.version))
    moment = int((now - timedelta(days=7)).timestamp()) * 10**9
    record = anonymize(Span("chat", moment, moment, {"gen_ai.request.model": "metavox/tiny"}), SCHEMA)
    assert record is not None
    tally = Tally()
    tally.add(record)
    Journal(home.journal_file, home.consent({}), SCHEMA, now).add(tally)
    with closing(sqlite3.connect(home.journal_file)) as sql, sql:
        sql.execute("UPDATE reports SET due_at = 0")
    return home
