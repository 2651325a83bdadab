"""Whom the figures are of: people who chose to contribute, and so no sample of anybody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived
from metavox_privacy.release import PHANTOMS, ReleasedTable

VERSION: Final = "1.0"


def coverage(case: Case) -> Document:
    """What may and may not be said of the release, so that nobody who is sold it is misled."""
    return case.document(
        "coverage",
        "Self-selection and coverage",
        "Art. 5(1)(a), 5(1)(d) GDPR; statement for buyers and readers",
        VERSION,
        Section("who", "Who is in it", _who(case)),
        Section("how many", "About how many", _how_many(case), tuple(_row(table) for table in case.release.tables)),
        Section("say", "What may be said of it", _say(case)),
    )


def _who(case: Case) -> tuple[Fact, ...]:
    return (
        derived(
            "Installations whose users have said yes to this purpose, in the period, and have named this "
            "collector; nobody was drawn by chance.",
            "code: metavox_privacy.consent",
        ),
        confirm(
            "People who say yes may differ from those who do not: in their devices, models, countries and skills. "
            "Nothing in the release tells by how much, for nothing is collected of the others.",
            "release: tables",
        ),
        derived(
            "Builds, tests and continuous integration are not in it; servers are only with a receipt of a person.",
            "code: metavox_privacy.automation",
        ),
        *(
            (
                derived(
                    "This release is synthetic: its reports were simulated, and it is of nobody.", "release: label"
                ),
            )
            if case.dataset.synthetic
            else ()
        ),
    )


def _how_many(case: Case) -> tuple[Fact, ...]:
    cells = case.dataset.schema.cells_per_report
    return (
        derived(
            "The numbers below are sums of published noisy counts. An installation is counted once in each "
            f"combination that it reports, of which a report has {cells} at most, and in each week of the "
            "period.",
            "release: contributors",
        ),
        derived(
            "How many installations there were exactly is not known to anybody any more.",
            "code: metavox_collector.close",
        ),
    )


def _row(table: ReleasedTable) -> Mapping[str, Any]:
    counted = sum(cell.contributors for cell in table.cells)
    return {
        "table": table.name,
        "published": len(table.cells),
        "possible": table.keys,
        "noisy_contributors": counted,
        "noise_of_the_sum": round(table.count_scale * len(table.cells) ** 0.5, 1),
        "threshold": table.threshold,
    }


def _corrections(case: Case) -> tuple[Fact, ...]:
    """What the ledger says of the release after it was made."""
    about = [one for one in case.dataset.history if one.reason and one.release == case.release.sha256]
    return tuple(derived(f"The ledger says of it: {one.reason}.", f"ledger: entry {one.sequence}") for one in about)


def _say(case: Case) -> tuple[Fact, ...]:
    return (
        *_corrections(case),
        derived(
            "That these are measurements of contributing installations, with the intervals that stand beside them.",
            "release: figures",
        ),
        confirm("Not: market shares, sales, or how fast a device is for everybody.", "release: tables"),
        derived(
            "Not: that a combination which is missing does not exist; it may have too few contributors, or too "
            "much noise.",
            "release: thresholds",
        ),
        derived(
            f"A few published rows may be of nobody: {PHANTOMS:g} a table on average.",
            "code: metavox_privacy.release",
        ),
    )
