"""How long anything is kept, as values that the code, the notice, the receipt and the docs all take from here."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

KEPT_HERE: Final = timedelta(days=28)
"""How long after its end a week stays in the journal."""

KEPT_AT_COLLECTOR: Final = timedelta(days=30)
"""The longest time for which a collector holds a report: until its week is closed."""

RETENTION: Final = (
    ("Your answer", "on this machine", "until you give another one, or delete the file"),
    (
        "Counts of a week",
        "on this machine",
        f"{KEPT_HERE.days} days after the week and to the next counted run, or to your no",
    ),
    (
        "The bytes of a report",
        "on this machine",
        f"{KEPT_HERE.days} days after its week and to the next counted run, or to your no",
    ),
    ("A journal that was damaged, and set aside", "on this machine", "until your next answer"),
    ("The random token of a report", "on this machine", "as its bytes; after a no, until 'off --delete'"),
    (
        "A report",
        "at the collector",
        f"until its week is closed, at most {KEPT_AT_COLLECTOR.days} days, or until you delete it",
    ),
    (
        "A hash of the name of a report that you asked to have deleted, so that it is not stored afterwards",
        "at the collector",
        f"until reports of its week are taken no more, at most {KEPT_AT_COLLECTOR.days} days",
    ),
    ("Your address", "at the collector, in memory", "while your request is answered"),
    (
        "How many requests and reports came from your network, under a hash of it with a random key",
        "at the collector, in memory",
        "requests for a day, reports for an ISO week, and an hour at most after that",
    ),
    (
        "Noisy sums of a closed week",
        "at the collector, and published",
        "for good: with noise that hides each installation",
    ),
)
"""What is kept, where, and for how long, in words."""
