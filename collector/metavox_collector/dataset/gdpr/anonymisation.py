"""The assessment of anonymisation by the three criteria of WP29 Opinion 05/2014, with this release's figures.

It states what was measured and leaves the conclusion in law to the controller: whether what a release holds is
personal data in anybody's hands is a question that this document keeps open, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from metavox_collector.dataset.facts import DELTA, privacy_unit
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.gates import Criterion, Gate
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived
from metavox_privacy.budget import epsilon

VERSION: Final = "1.0"

CRITERIA: Final[tuple[Criterion, ...]] = ("singling out", "linkability", "inference")
"""The Opinion's three, in its order."""

BESIDE: Final[tuple[Criterion, ...]] = ("membership", "the release itself")
"""What is measured besides: whether somebody is in the release at all, and what the published numbers show."""

_QUESTION: Final[Mapping[Criterion, str]] = {
    "singling out": "Can records that isolate one installation be found in what is published?",
    "linkability": "Can what is published be used to tell that two contributions are of one installation?",
    "inference": "Does what is published let somebody guess an attribute of an installation much better than "
    "without that installation in it?",
    "membership": "Can somebody who knows a whole report tell whether it is in the release?",
    "the release itself": "Do the published numbers show the noise and the thresholds that are declared?",
}
_ANSWER: Final[Mapping[Criterion, str]] = {
    "singling out": "No row is of one installation: rows are sums with noise, and a combination is published "
    "when its "
    "noisy count reaches the threshold, which is so high that a combination of one alone reaches it "
    "hardly more often than one of nobody.",
    "linkability": "Releases hold no name that lasts over weeks, and each draws noise of its own; what two of them "
    "tell together is bounded by the sum of what they cost.",
    "inference": "With or without one installation the release is nearly as likely; so whoever knows all others "
    "learns about it no more than the cost permits. What follows from everybody else's data, such as "
    "that a device is fast, is not what this criterion protects.",
    "membership": "This is the question that differential privacy bounds; the other three follow from it.",
    "the release itself": "Asked of this very release, not of a simulated one.",
}


def anonymisation(case: Case) -> Document:
    """The assessment, with one section for each criterion."""
    return case.document(
        "anonymisation",
        "Assessment of anonymisation",
        "Recital 26 GDPR, by the criteria of WP29 Opinion 05/2014 (WP216)",
        VERSION,
        Section("scope", "What is assessed", _scope(case)),
        Section("mechanism", "What protects, and its bound", _mechanism(case), rows(case, "mechanism")),
        Section("planted faults", "Whether the audit would notice", _plants(case), _plant_rows(case)),
        *(_criterion(case, criterion) for criterion in (*CRITERIA, *BESIDE)),
        Section("residual", "What remains", _residual()),
        Section("law", "What this says in law, and what it leaves open", _law()),
    )


def verdict(case: Case, criterion: Criterion) -> Fact:
    """How a criterion's measurements ended, in one sentence."""
    gates = _of(case, criterion)
    source = "proof: audit.json" if criterion == "mechanism" else "proof: attacks.json"
    if not gates:
        return confirm("No measurement of this release speaks to this; the controller has it assessed.", source)
    failed = [gate.name for gate in gates if not gate.passed]
    if failed:
        return derived(
            f"{len(failed)} of {len(gates)} measurements beyond their limits: {', '.join(failed)}.", source
        )
    return derived(f"{len(gates)} of {len(gates)} measurements are within their limits.", source)


def rows(case: Case, criterion: Criterion) -> tuple[Mapping[str, Any], ...]:
    """A criterion's measurements, for machines."""
    return tuple(gate.row for gate in _of(case, criterion))


def _of(case: Case, criterion: Criterion) -> Sequence[Gate]:
    return [gate for gate in case.gates if gate.criterion == criterion]


def _criterion(case: Case, criterion: Criterion) -> Section:
    facts = (
        derived(_QUESTION[criterion], "code: metavox_collector.proof.attacks"),
        derived(_ANSWER[criterion], "code: metavox_privacy.release"),
        verdict(case, criterion),
    )
    return Section(criterion, criterion.capitalize(), facts, rows(case, criterion))


def _scope(case: Case) -> tuple[Fact, ...]:
    cells = ", ".join(f"{table.name} {len(table.cells)}" for table in case.release.tables)
    return (
        derived(
            "What is assessed is the published release, not the staged reports: a report is of one "
            "installation, and whoever holds it may recognise a rare combination. Reports are treated as "
            "personal data throughout.",
            "code: metavox_privacy.report",
        ),
        derived(f"The release has these tables, with so many rows of noisy sums: {cells}.", "release: tables"),
        derived(
            "Attacks are made on simulated fleets with this release's parameters, for the reports themselves are "
            "destroyed.",
            "code: metavox_collector.proof.attacks",
        ),
    )


def _mechanism(case: Case) -> tuple[Fact, ...]:
    release, statement, settings = case.release, case.dataset.statement, case.operations
    return (
        derived(f"The protected unit is {privacy_unit(release.weeks)}.", "code: metavox_privacy.cells"),
        derived(f"The release costs {cost(release.nano_rho)}.", case.entry_source),
        derived(
            f"For somebody in all of the period's releases it is {cost(statement.together)} together.",
            "ledger: the period's entries",
        ),
        derived(
            f"A year's releases cost at most {cost(statement.yearly_cap)}; ρ = {statement.spent / 1e9:g} were "
            "spent by then.",
            "ledger: cap and balance",
        ),
        derived(
            f"The collector's settings give a published release ρ = {settings.publish_nano_rho / 1e9:g}.",
            "setting: publish_nano_rho",
        ),
        derived(
            f"They give the maintainers' release ρ = {settings.improve_nano_rho / 1e9:g}.",
            "setting: improve_nano_rho",
        ),
        derived(
            "The audit plays each game at the ρ that its name states, and holds μ against the √(2ρ) of that ρ: "
            "a small budget would need too many trials, and the code that draws the noise is the same.",
            "code: metavox_privacy.audit",
        ),
        derived(
            "In the tables below a value is what was measured, in so many trials and so with an error of chance. "
            "Beside it is what it is at least, with 99.9 % confidence; that is held against the limit. A value can "
            "be over its limit by chance alone.",
            "code: metavox_collector.dataset.gdpr.gates",
        ),
        verdict(case, "mechanism"),
    )


def cost(nano_rho: int) -> str:
    """A budget in words: ρ, and the ε at δ that it implies (Canonne, Kamath and Steinke 2020, proposition 12)."""
    return f"ρ = {nano_rho / 1e9:g} (ε = {epsilon(nano_rho, DELTA):.3g}, δ = {DELTA:g})"


def _plants(case: Case) -> tuple[Fact, ...]:
    missed = [plant.name for plant in case.plants if not plant.caught]
    end = f"missed were {', '.join(missed)}" if missed else "all of them were caught"
    return (
        derived(
            f"{len(case.plants)} faults were planted, one at a time, and the same audit was run: {end}.",
            "proof: audit.json",
        ),
    )


def _plant_rows(case: Case) -> tuple[Mapping[str, Any], ...]:
    return tuple(plant.row for plant in case.plants)


def _residual() -> tuple[Fact, ...]:
    return (
        derived(
            "A bound on what is learnt is no proof that nothing is: with small probability more is learnt, and "
            "over many weeks the bounds add up until the yearly cap.",
            "code: metavox_privacy.budget",
        ),
        derived(
            "An audit and attacks can find faults and cannot prove that there is none.",
            "code: metavox_privacy.audit",
        ),
        derived(
            "Installations of one person or of one company are protected each by itself; what a whole company "
            "contributes together may be seen.",
            "code: metavox_privacy.cells",
        ),
        derived(
            "The community licence does not forbid an attempt to re-identify, and whoever chooses it is bound by "
            "nothing else: what is assessed here is to hold without any promise of a recipient.",
            "code: metavox_collector.dataset.licences",
        ),
        confirm("The assessment is repeated when attacks become known that it does not cover, as WP216 asks."),
    )


def _law() -> tuple[Fact, ...]:
    return (
        confirm(
            "Recital 26 looks at all means reasonably likely to be used to identify somebody, by the "
            "controller or by another person; the Court has applied it in C-582/14 Breyer (19 October 2016).",
            "law: Recital 26 GDPR, C-582/14",
        ),
        confirm(
            "In C-413/23 P, EDPS v SRB (4 September 2025, ECLI:EU:C:2025:645), on Regulation (EU) 2018/1725, "
            "whose definitions are those of the GDPR, the Court held that pseudonymised data are not personal "
            "data in every case and for everybody, and that whether a recipient can identify people depends on "
            "the circumstances; the controller's duty to inform is judged at the time of collection and from "
            "its own point of view. The case went back to the General Court.",
            "law: C-413/23 P",
        ),
        confirm(
            "Open: how far that reasoning carries to aggregates with noise, and to buyers whom the controller does "
            "not know. Nothing in this file rests on it: for the controller, everything up to the release is "
            "processing of personal data, on consent, and people are told of the sale.",
            "law: C-413/23 P",
        ),
        confirm(
            "Open: guidance of the EDPB on anonymisation, in preparation when this was written, and the final form "
            "of its Guidelines 01/2025 on pseudonymisation.",
            "law: EDPB",
        ),
    )
