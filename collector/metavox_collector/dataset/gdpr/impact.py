"""The data protection impact assessment (Art. 35): the answers, from what the pipeline did with this release."""

from __future__ import annotations

from typing import Final

from metavox_collector.dataset.gdpr import cnil, destruction, notices, processor_terms, record, rights, transfers
from metavox_collector.dataset.gdpr.anonymisation import BESIDE, CRITERIA, cost, verdict
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.cnil import Answer
from metavox_collector.dataset.gdpr.gates import Gate
from metavox_collector.dataset.gdpr.measures import Measure, Risk, measures_of
from metavox_collector.dataset.gdpr.risks import ITEM_OF, RISKS
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
        {**_context(case), **_proportionality(case), **_controls(case), **_risks(case, measures)},
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
                    "The person's own machine: a journal for its owner alone.", "code: metavox.telemetry.journal"
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


def _proportionality(case: Case) -> dict[int, Answer]:
    shown = _by_article(notices.notices(case))
    fields = record.fields_of(case.dataset.schema)
    return {
        211: Answer((*record.purposes(), *shown["13(1)(c)"])),
        212: Answer(
            (
                derived("Consent, for each purpose apart: Art. 6(1)(a), 7.", "code: metavox_privacy.consent"),
                confirm("The same answer covers storing on the person's machine; see open-questions.md."),
            )
        ),
        213: Answer(tuple(derived(f"{one.name}: {one.reason}.", f"schema: {one.name}") for one in fields)),
        214: Answer(_accuracy()),
        215: Answer((*record.time_limits(case), *_by_article(destruction.destruction(case))["destroyed"])),
    }


def _accuracy() -> tuple[Fact, ...]:
    return (
        derived("A report is whole and of the schema, or it is rejected.", "code: metavox_collector.receive"),
        derived("Figures stand beside intervals that account for the noise.", "code: metavox_collector.estimate"),
        derived("What is wrong with a release is said by an entry in the ledger.", "code: metavox_privacy.budget"),
    )


def _controls(case: Case) -> dict[int, Answer]:
    shown, treated = _by_article(notices.notices(case)), _by_article(rights.rights(case))
    terms = _by_article(processor_terms.processor_terms(case))
    asked = derived(
        "Two questions, apart; Enter is no; asked once, after the first successful run, at a terminal; a "
        "receipt holds the answer, the words and the list.",
        "code: metavox.telemetry.question",
    )
    return {
        221: Answer((*shown["13(1)(a)"], *treated["13, 14"])),
        222: Answer((asked, *treated["7(3)"])),
        223: Answer((*treated["15"], *treated["20"])),
        224: Answer((*treated["16"], *treated["17"])),
        225: Answer((*treated["18"], *treated["21"])),
        226: Answer((*record.processors(case), *terms["28(9)"])),
        227: Answer(_by_article(transfers.transfers(case))["staging"]),
    }


def _risks(case: Case, measures: tuple[Measure, ...]) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    for risk, item in ITEM_OF.items():
        described, (severity, likelihood) = RISKS[risk], gauges(case)[risk]
        first = 10 * item
        found |= {
            first + 1: Answer(described.impacts),
            first + 2: Answer(described.threats),
            first + 3: Answer(described.sources),
            first + 4: Answer(titles=tuple(one.title for one in measures if risk in one.against)),
            first + 5: Answer((*described.severity, *_figures(case, risk)), severity),
            first + 6: Answer((*described.likelihood, *_residual(case, risk)), likelihood),
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
