"""The assessment of anonymisation by the three criteria of WP29 Opinion 05/2014, with this release's figures.

It states what was measured and leaves the conclusion in law to the controller: whether what a release holds is
personal data in anybody's hands is a question that this document keeps open, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from metavox_collector.dataset.facts import DELTA, privacy_unit
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.gates import Criterion, Gate
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived
from metavox_privacy.budget import epsilon

VERSION: Final = "1.0"

CRITERIA: Final[tuple[Criterion, ...]] = ("singling out", "linkability", "inference")
"""The Opinion's three, in its order."""

_MEANING: Final[dict[Criterion, str]] = {
    "singling out": "Can records that isolate one installation be found in what is published?",
    "linkability": "Can what is published be used to tell that two contributions are of one installation?",
    "inference": "Does what is published let somebody guess an attribute of an installation much better than "
    "without that installation in it?",
}
_ANSWER: Final[dict[Criterion, str]] = {
    "singling out": "No row is of one installation: rows are sums with noise, and a combination is published "
    "when its noisy count reaches the threshold, which a combination of nobody reaches about as often as "
    "one of a single one.",
    "linkability": "Releases hold no name that lasts over weeks, and each draws noise of its own; what two of them "
    "tell together is bounded by the sum of what they cost.",
    "inference": "With or without one installation the release is nearly as likely; so whoever knows all "
    "others learns about it no more than the cost permits. What follows from everybody else's data, such "
    "as that a device is fast, is not what this criterion protects.",
}


def anonymisation(case: Case) -> Document:
    """The assessment, with one section for each criterion."""
    return case.document(
        "anonymisation",
        "Assessment of anonymisation",
        "Recital 26 GDPR, by the criteria of WP29 Opinion 05/2014 (WP216)",
        VERSION,
        Section("scope", "What is assessed", _scope(case)),
        Section("mechanism", "What protects, and its bound", _mechanism(case), _rows(case.gates, "mechanism")),
        *(_criterion(case, criterion) for criterion in CRITERIA),
        Section("residual", "What remains", _residual(case)),
        Section("law", "What this says in law, and what it leaves open", _law()),
    )


def verdict(gates: Sequence[Gate]) -> Fact:
    """How a criterion's measurements ended, in one sentence."""
    failed = [gate.name for gate in gates if not gate.passed]
    if not gates:
        return confirm("No measurement of this release speaks to this.", "proof: attacks.json")
    if failed:
        return derived(f"Beyond their limits: {', '.join(failed)}.", "proof: attacks.json")
    return derived(f"All {len(gates)} measurements are within their limits.", "proof: attacks.json")


def _criterion(case: Case, criterion: Criterion) -> Section:
    gates = [gate for gate in case.gates if gate.criterion == criterion]
    facts = (
        derived(_MEANING[criterion], "law: WP29 Opinion 05/2014"),
        derived(_ANSWER[criterion], "code: metavox_privacy.release"),
        verdict(gates),
    )
    return Section(criterion, criterion.capitalize(), facts, _rows(gates, criterion))


def _rows(gates: Sequence[Gate], criterion: Criterion) -> tuple[dict[str, object], ...]:
    return tuple(dict(gate.row) for gate in gates if gate.criterion == criterion)


def _scope(case: Case) -> tuple[Fact, ...]:
    cells = {table.name: len(table.cells) for table in case.release.tables}
    return (
        derived(
            "What is assessed is the published release, not the staged reports: a report is of one "
            "installation, and whoever holds it may recognise a rare combination. Reports are treated as "
            "personal data throughout.",
            "code: metavox_privacy.report",
        ),
        derived(
            "The release has these tables, with so many rows of noisy sums: "
            + ", ".join(f"{name} {number}" for name, number in cells.items())
            + ".",
            "release: tables",
        ),
        derived(
            "The measurements are made on simulated fleets with this release's parameters, for the reports "
            "themselves are destroyed.",
            "proof: attacks.json",
        ),
    )


def _mechanism(case: Case) -> tuple[Fact, ...]:
    release, together = case.release, case.dataset.statement.together
    return (
        derived(f"The protected unit is {privacy_unit(release.weeks)}.", "code: metavox_privacy.cells"),
        derived(
            f"The release costs ρ = {release.nano_rho / 1e9:g}, (ε = {epsilon(release.nano_rho, DELTA):.3g}, "
            f"δ = {DELTA:g}).",
            case.entry_source,
        ),
        derived(
            f"For somebody in all of the period's releases it is ρ = {together / 1e9:g}, "
            f"(ε = {epsilon(together, DELTA):.3g}, δ = {DELTA:g}) together.",
            "ledger: the period's entries",
        ),
        derived(
            f"A year's releases cost at most ρ = {case.dataset.statement.yearly_cap / 1e9:g}, "
            f"(ε = {epsilon(case.dataset.statement.yearly_cap, DELTA):.3g}, δ = {DELTA:g}); "
            f"ρ = {case.dataset.statement.spent / 1e9:g} were spent by then.",
            "ledger: cap and balance",
        ),
        verdict([gate for gate in case.gates if gate.criterion == "mechanism"]),
    )


def _residual(case: Case) -> tuple[Fact, ...]:
    return (
        derived(
            "A bound on what is learnt is no proof that nothing is: with small probability more is learnt, and "
            "over many weeks the bounds add up until the yearly cap.",
            "code: metavox_privacy.budget",
        ),
        derived("An audit and attacks can find faults and cannot prove that there is none.", "proof: audit.json"),
        derived(
            "Installations of one person or of one company are protected each by itself; what a whole company "
            "contributes together may be seen.",
            "code: metavox_privacy.cells",
        ),
        confirm("The assessment is repeated when attacks become known that it does not cover (WP216, section 5)."),
    )


def _law() -> tuple[Fact, ...]:
    return (
        derived(
            "Recital 26 asks for all means reasonably likely to be used to identify somebody, by the controller or "
            "by another person; the Court has read it so in C-582/14 Breyer (19 October 2016).",
            "law: Recital 26, C-582/14",
        ),
        derived(
            "In C-413/23 P, EDPS v SRB (4 September 2025), on Regulation (EU) 2018/1725, the Court held that "
            "pseudonymised data are not personal data in every case and for everybody, that it depends on "
            "whether the recipient can reasonably identify people, and that the duty to inform is judged from "
            "the controller's view at the time of collection. The case went back to the General Court.",
            "law: C-413/23 P",
        ),
        confirm(
            "Open: how far that reasoning carries to aggregates with noise, and to buyers whom the controller "
            "does not know. Nothing in this file rests on it: for the controller, everything up to the release "
            "is processing of personal data, on consent, and people are told of the sale.",
            "law: C-413/23 P",
        ),
        confirm(
            "Open: guidance of the EDPB on anonymisation, in preparation when this was written, and its Guidelines "
            "01/2025 on pseudonymisation, whose final form has to be looked at.",
            "law: EDPB",
        ),
    )
