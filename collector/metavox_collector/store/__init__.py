"""The database: the only place that knows SQLAlchemy. Everything else speaks in reports and releases."""

from metavox_collector.store.database import Database
from metavox_collector.store.released import LabelledRelease, ReleaseSummary
from metavox_collector.store.rows import StagedRow, week_number
from metavox_collector.store.transaction import Transaction

__all__ = [
    "Database",
    "LabelledRelease",
    "ReleaseSummary",
    "StagedRow",
    "Transaction",
    "week_number",
]
