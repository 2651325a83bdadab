"""The data protection impact assessment (Art. 35): the answers, from what the pipeline did with this release."""

from __future__ import annotations

from typing import Final

from metavox_collector.dataset.gdpr import cnil, destruction, notices, processor_terms, record, rights, transfers
from metavox_collector.dataset.gdpr.anonymisation import BESIDE, CRITERIA, cost, verdict
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.cnil import Answer
from metavox_collector.dataset.gdpr.gates import Gate
from metavox_collector.dataset.gdpr.measures import Measure, Risk, measures_of
from metavox_collector.dataset.gdpr.statements import Document, Fact, confirm, derived

VERSION: Final = "1.0"


def impact(case: Case) -> cnil.Form:
    """The assessment in the form that CNIL's PIA software imports."""
    release = case.release
    name = f"MetaVox, {case.period} ({release.purpose}){': synthetic' if case.dataset.synthetic else ''}"
    pia = {
        "name": f"Impact assessment: {name}",
        "category": f"version {VERSION}; release {release.sha256}; schema version {release.schema_version}",
        "author_name": f"metavox {case.dataset.code.version}, from its own settings, schema and ledger",
        "evaluator_name": "to be named by the controller",
        "validator_name": "to be named by the controller",
        "dpos_names": case.dataset.publisher.dpo or "",
        "structure_id": "",
    }
    measures = measures_of(case)
    return cnil.form(
        pia,
        {**_context(case), **_principles(case), **_risks(case, measures)},
        tuple((measure.title, measure.fact) for measure in measures),
        f"{case.dataset.issued.isoformat()}T00:00:00.000Z",
    )


def gauges(case: Case) -> dict[Risk, tuple[int, int]]:
    """Severity and likelihood of each risk with the measures as they are, from 1 to 4.

    A measurement beyond its limit makes illegitimate access likely (4); a transport that is not known to be
    encrypted makes it and unwanted change one step more likely. They are a proposal that the controller confirms.
    """
    is_known = case.operations.transport in ("tls", "loopback")
    access = 4 if not case.holds else 1 if is_known else 2
    return {"access": (2, access), "change": (1, 1 if is_known else 2), "disappearance": (1, 2)}


def _context(case: Case) -> dict[int, Answer]:
    return {
        111: Answer(
            (
                derived(
                    "Weekly reports of how fast language models run on people's machines are received, summed, "
                    f"given noise and published; this assessment goes with the release of {case.period}.",
                    "code: metavox_collector.close",
                ),
                *record.purposes(),
                *record.subjects(),
            )
        ),
        112: Answer((*record.controller(case), *record.processors(case))),
        113: Answer(
            (
                derived(
                    "Receipts after ISO/IEC TS 27560 in the Data Privacy Vocabulary; criteria of WP29 Opinion "
                    "05/2014; no approved code of conduct and no certification is relied upon.",
                    "code: metavox_privacy.receipt",
                ),
                confirm(
                    "Codes of conduct, certifications and the authority's lists (Art. 35(4), 35(5)) are looked at."
                ),
            )
        ),
        121: Answer((*record.data(case), *record.recipients(case))),
        122: Answer(_life_cycle(case)),
        123: Answer(
            (
                derived(
                    "The person's own machine: a journal for its owner alone.", "code: metavox_privacy.retention"
                ),
                derived(
                    "The collector's processes, which keep nothing, and its database "
                    f"({case.operations.database}).",
                    "setting: db",
                ),
                confirm("The machines, networks, disks and people under these are listed."),
            )
        ),
    }


def _life_cycle(case: Case) -> tuple[Fact, ...]:
    return (
        derived("On the machine: a request becomes a count of closed words.", "code: metavox_privacy.anonymize"),
        derived("In the week after: one report is sent.", "code: metavox.telemetry.upload"),
        derived("At the collector: it is checked and staged.", "code: metavox_collector.stage"),
        derived(
            f"From {case.operations.grace_days} days after the week's end: sums, noise, threshold, ledger, "
            "release and destruction in one transaction.",
            "setting: grace_days",
        ),
        derived(
            "The release is written in open formats, checked, signed and offered.",
            "code: metavox_collector.dataset",
        ),
    )


def _principles(case: Case) -> dict[int, Answer]:
    shown, treated = _by_article(notices.notices(case)), _by_article(rights.rights(case))
    terms = _by_article(processor_terms.processor_terms(case))
    schema = case.dataset.schema
    return {
        211: Answer((*record.purposes(), *shown["13(1)(c)"])),
        212: Answer(
            (
                derived("Consent, for each purpose apart: Art. 6(1)(a), 7.", "code: metavox_privacy.consent"),
                confirm("The same answer covers storing on the person's machine; see open-questions.md."),
            )
        ),
        213: Answer(
            tuple(
                derived(f"{field.name}: {field.reason}.", f"schema: {field.name}")
                for field in (*schema.dimensions, *schema.metrics)
            )
        ),
        214: Answer(
            (
                derived(
                    "A report is whole and of the schema, or it is rejected.", "code: metavox_collector.receive"
                ),
                derived(
                    "Figures stand beside intervals that account for the noise.", "code: metavox_collector.estimate"
                ),
                derived(
                    "What is wrong with a release is said by a correction in the ledger.",
                    "code: metavox_privacy.budget",
                ),
            )
        ),
        215: Answer((*record.time_limits(case), *_by_article(destruction.destruction(case))["destroyed"])),
        221: Answer((*shown["13(1)(a)"], *treated["13, 14"])),
        222: Answer(
            (
                derived(
                    "Two questions, apart; Enter is no; asked once, after the first successful run, at a "
                    "terminal; a receipt holds the answer, the words and the list.",
                    "code: metavox_privacy.consent",
                ),
                *treated["7(3)"],
            )
        ),
        223: Answer((*treated["15"], *treated["20"])),
        224: Answer((*treated["16"], *treated["17"])),
        225: Answer((*treated["18"], *treated["21"])),
        226: Answer((*record.processors(case), *terms["28(9)"])),
        227: Answer(_by_article(transfers.transfers(case))["staging"]),
    }


def _risks(case: Case, measures: tuple[Measure, ...]) -> dict[int, Answer]:
    values = gauges(case)
    found: dict[int, Answer] = {}
    for item, risk in ((320, "access"), (330, "change"), (340, "disappearance")):
        risk_facts = _RISKS[risk]
        treating = tuple(measure.title for measure in measures if risk in measure.against)
        severity, likelihood = values[risk]
        found |= {
            item + 1: Answer(risk_facts["impacts"]),
            item + 2: Answer(risk_facts["threats"]),
            item + 3: Answer(risk_facts["sources"]),
            item + 4: Answer(titles=treating),
            item + 5: Answer((*risk_facts["severity"], *_figures(case, risk)), severity),
            item + 6: Answer((*risk_facts["likelihood"], *_residual(case, risk)), likelihood),
        }
    return found


def _figures(case: Case, risk: Risk) -> tuple[Fact, ...]:
    """This release's measurements, where they speak to a risk."""
    if risk != "access":
        return ()
    return (
        derived(
            f"What one installation in the period can lose by this release: {cost(case.release.nano_rho)}.",
            case.entry_source,
        ),
        *(_measured(gate) for gate in case.gates if gate.criterion == "mechanism"),
        *(
            derived(f"{criterion.capitalize()}: {verdict(case, criterion).statement}", "proof: attacks.json")
            for criterion in (*CRITERIA, *BESIDE)
        ),
    )


def _measured(gate: Gate) -> Fact:
    return derived(
        f"{gate.name}: μ is {gate.at_least:.4g} at least, {gate.limit:.4g} is permitted; "
        f"{'within' if gate.passed else 'beyond'} the limit.",
        "proof: audit.json",
    )


def _residual(case: Case, risk: Risk) -> tuple[Fact, ...]:
    severity, likelihood = gauges(case)[risk]
    return (
        confirm(
            f"Residual risk with the measures above: severity {cnil.GAUGES[severity]}, likelihood "
            f"{cnil.GAUGES[likelihood]}. "
            + (
                "Prior consultation (Art. 36) is due while it is high."
                if likelihood == 4
                else "It is not high, so Art. 36 asks for no prior consultation."
            )
        ),
    )


def _by_article(document: Document) -> dict[str, tuple[Fact, ...]]:
    return {section.article: section.facts for section in document.sections}


_RISKS: Final[dict[Risk, dict[str, tuple[Fact, ...]]]] = {
    "access": {
        "impacts": (
            derived(
                "Somebody who knows that a rare device or model is a person's may learn from a staged report "
                "how they use it in a week: how often in ranges, how fast, with which engine.",
                "schema: fields",
            ),
            derived("No prompt, answer, name or address can be learnt, for none is collected.", "schema: fields"),
        ),
        "threats": (
            derived("A stolen or copied database before a week is closed.", "code: metavox_collector.store"),
            derived("A report read on its way.", "code: metavox_collector.serve"),
            derived(
                "An inference from what is published, also from several releases.", "code: metavox_privacy.release"
            ),
        ),
        "sources": (
            confirm("People who operate the collector, the machine or the network under it."),
            derived(
                "Buyers and readers of releases who combine them with other knowledge.",
                "code: metavox_privacy.release",
            ),
            confirm("Attackers from outside."),
        ),
        "severity": (
            confirm(
                "Limited: technical facts of one week in ranges; embarrassing or competitively useful at worst."
            ),
        ),
        "likelihood": (
            confirm(
                "Without the measures significant, for a database of reports is worth copying; with them the "
                "figures of this release stand for inference, and the controller for the machine."
            ),
        ),
    },
    "change": {
        "impacts": (
            derived(
                "People decide by figures that are wrong; nobody's own data are the worse.", "release: figures"
            ),
        ),
        "threats": (
            derived("Made-up reports in large numbers from one place.", "code: metavox_collector.admission"),
            derived("A release or a pack that is altered afterwards.", "code: metavox_privacy.budget"),
        ),
        "sources": (confirm("Vendors who gain by figures; attackers from outside; faults of the software."),),
        "severity": (confirm("Negligible for data subjects: nothing is decided about anybody by a report."),),
        "likelihood": (
            confirm(
                "Limits bound what one block of addresses can do, and no more; signature and ledger show the rest."
            ),
        ),
    },
    "disappearance": {
        "impacts": (
            derived(
                "A week has no release. A person loses nothing: their counts are on their own machine.",
                "code: metavox_privacy.retention",
            ),
        ),
        "threats": (
            derived(
                "A disk that fails before the close; a close that nobody makes in time.",
                "code: metavox_collector.housekeeping",
            ),
        ),
        "sources": (confirm("Machines, faults of the software, operators."),),
        "severity": (
            confirm("Negligible: contributions are statistics, and nobody relies on their own being kept."),
        ),
        "likelihood": (
            derived(
                "Limited, and accepted: backups hold no reports, on purpose, so a week that is lost is lost.",
                "code: metavox_collector.operate.backup",
            ),
        ),
    },
}
