"""Evidence of destruction: what the close destroyed, under which limits, and what remains.

It states only what is known without counting: how many reports there were is nobody's to know, and is not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived
from metavox_privacy.retention import KEPT_AT_COLLECTOR, KEPT_HERE
from metavox_privacy.week import Week

VERSION: Final = "1.0"

ROW: Final = ("week", "ended", "destroyed_by_ledger_entry", "hash_of_that_entry", "would_have_been_kept_until")
"""All that is stated of a week; a number of reports is not among it, and must never be."""


def destruction(case: Case) -> Document:
    """What was destroyed, when at the latest, and what is left."""
    return case.document(
        "retention",
        "Retention and evidence of destruction",
        "Art. 5(1)(e), 5(2) GDPR",
        VERSION,
        Section("destroyed", "What the close destroyed", _destroyed(case), _rows(case)),
        Section("limits", "The limits that hold", _limits(case)),
        Section("remains", "What remains", _remains(case)),
        Section("not stated", "What is not stated here", _not_stated()),
    )


def _rows(case: Case) -> tuple[Mapping[str, Any], ...]:
    weeks = (case.release.week.before(n) for n in reversed(range(case.release.weeks)))
    return tuple(dict(zip(ROW, _values(case, week), strict=True)) for week in weeks)


def _values(case: Case, week: Week) -> tuple[str | int, ...]:
    until = week.end + timedelta(days=case.operations.kept_days)
    return (str(week), f"{week.end:%Y-%m-%d}", case.entry.sequence, case.entry.hash, f"{until:%Y-%m-%d}")


def _destroyed(case: Case) -> tuple[Fact, ...]:
    return (
        derived(
            f"The staged reports of {case.period} were destroyed by the close that wrote ledger entry "
            f"{case.entry.sequence}: it writes the release, the entry and the destruction in one transaction, "
            "so the entry would not be there without the destruction.",
            "code: metavox_collector.close",
        ),
        derived(
            "What older weeks had staged, and no close had come for, was destroyed right after it.",
            "code: metavox_collector.close",
        ),
        derived(
            "After that the freed parts of the database's files and its write-ahead log are overwritten or written "
            "anew; the service tries again until it is done.",
            "code: metavox_collector.housekeeping",
        ),
        derived(
            "Nobody's close is needed for the destruction: the service destroys what is older than the limit by "
            "itself, each hour.",
            "code: metavox_collector.housekeeping",
        ),
    )


def _limits(case: Case) -> tuple[Fact, ...]:
    operations = case.operations
    return (
        derived(
            f"People were promised {KEPT_AT_COLLECTOR.days} days at the collector and {KEPT_HERE.days} on their "
            "own machine at most.",
            "code: metavox_privacy.retention",
        ),
        derived(
            f"This collector keeps a report for {operations.kept_days} days after its week's end at most.",
            "setting: accept_weeks",
        ),
        derived(
            f"A week can be closed {operations.grace_days} days after its end; then its reports are gone.",
            "setting: grace_days",
        ),
        derived(
            f"{operations.cadence_weeks} week{'s are' if operations.cadence_weeks > 1 else ' is'} released at a "
            "time.",
            "setting: cadence_weeks",
        ),
    )


def _remains(case: Case) -> tuple[Fact, ...]:
    facts = [
        derived("The release: sums with noise.", case.entry_source),
        derived(
            "Hashes of the names of reports whose deletion was asked for, until reports of their week are taken no "
            "more.",
            "code: metavox_collector.store.staged",
        ),
        confirm("No copy with reports was made (db backup --with-staged), or it was destroyed."),
        confirm("No replica, archived log or snapshot of the machine holds reports for longer than a day."),
    ]
    if case.operations.database == "postgresql":
        facts.append(
            confirm(
                "PostgreSQL's own log quotes no rows (log_error_verbosity, log_parameter_max_length), as "
                "metavox-collector doctor checks."
            )
        )
    return tuple(facts)


def _not_stated() -> tuple[Fact, ...]:
    return (
        derived(
            "How many reports were staged or destroyed: an exact number would be a release of its own, without "
            "noise and not paid for. The release's noisy counts are all there is.",
            "code: metavox_privacy.release",
        ),
    )
