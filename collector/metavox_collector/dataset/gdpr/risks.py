"""The three risks of an impact assessment, as CNIL's method names them, for this processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from metavox_collector.dataset.gdpr.measures import Risk
from metavox_collector.dataset.gdpr.statements import Fact, confirm, derived

ITEM_OF: Final[Mapping[Risk, int]] = {"access": 32, "change": 33, "disappearance": 34}
"""Where each is treated in the software's structure."""


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of a risk beside its measures and this release's figures.

    Attributes:
        impacts: On people.
        threats: By which it could come about.
        sources: From whom or what.
        severity: Why it is as severe as the gauge says.
        likelihood: Why it is as likely.
    """

    impacts: tuple[Fact, ...]
    threats: tuple[Fact, ...]
    sources: tuple[Fact, ...]
    severity: tuple[Fact, ...]
    likelihood: tuple[Fact, ...]


RISKS: Final[Mapping[Risk, Described]] = {
    "access": Described(
        impacts=(
            derived(
                "Somebody who knows that a rare device or model is a person's may learn from a staged report "
                "how they use it in a week: how often in ranges, how fast, with which engine.",
                "schema: fields",
            ),
            derived("No prompt, answer, name or address can be learnt, for none is collected.", "schema: fields"),
        ),
        threats=(
            derived("A stolen or copied database before a week is closed.", "code: metavox_collector.store"),
            derived("A report read on its way.", "code: metavox_collector.serve"),
            derived(
                "An inference from what is published, also from several releases.", "code: metavox_privacy.release"
            ),
        ),
        sources=(
            confirm("People who operate the collector, the machine or the network under it."),
            derived(
                "Buyers and readers of releases who combine them with other knowledge.",
                "code: metavox_privacy.release",
            ),
            confirm("Attackers from outside."),
        ),
        severity=(
            confirm(
                "Limited: technical facts of one week in ranges; embarrassing or competitively useful at worst."
            ),
        ),
        likelihood=(
            confirm(
                "Without the measures significant, for a database of reports is worth copying; with them the "
                "figures of this release stand for inference, and the controller for the machine."
            ),
        ),
    ),
    "change": Described(
        impacts=(
            derived(
                "People decide by figures that are wrong; nobody's own data are the worse.", "release: figures"
            ),
        ),
        threats=(
            derived("Made-up reports in large numbers from one place.", "code: metavox_collector.admission"),
            derived("A release or a pack that is altered afterwards.", "code: metavox_privacy.budget"),
        ),
        sources=(confirm("Vendors who gain by figures; attackers from outside; faults of the software."),),
        severity=(confirm("Negligible for data subjects: nothing is decided about anybody by a report."),),
        likelihood=(
            confirm(
                "Limits bound what one block of addresses can do, and no more; signature and ledger show the rest."
            ),
        ),
    ),
    "disappearance": Described(
        impacts=(
            derived(
                "A week has no release. A person loses nothing: their counts are on their own machine.",
                "code: metavox_privacy.retention",
            ),
        ),
        threats=(
            derived(
                "A disk that fails before the close; a close that nobody makes in time.",
                "code: metavox_collector.housekeeping",
            ),
        ),
        sources=(confirm("Machines, faults of the software, operators."),),
        severity=(confirm("Negligible: contributions are statistics, and nobody relies on their own being kept."),),
        likelihood=(
            derived(
                "Limited, and accepted: backups hold no reports, on purpose, so a week that is lost is lost.",
                "code: metavox_collector.operate.backup",
            ),
        ),
    ),
}
"""By risk."""
