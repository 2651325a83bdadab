"""Terms for processors, clause by clause as Art. 28(3) asks, with what is processed taken from the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.operations import EEA
from metavox_collector.dataset.gdpr.record import named, processors
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived, fill
from metavox_privacy.retention import KEPT_AT_COLLECTOR

VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause.

    Attributes:
        article: The letter that asks for it.
        title: For people.
        words: What the processor is bound to.
    """

    article: str
    title: str
    words: str


CLAUSES: Final = (
    Clause(
        "28(3)(a)",
        "Instructions",
        "The processor handles reports only as the controller has instructed it in writing, transfers to "
        "third countries included, unless the law of the Union or of a Member State obliges it otherwise; it "
        "then says so beforehand, where that law lets it. The standing instruction is: run the collector with "
        "the controller's settings, keep no copy of a report, read none.",
    ),
    Clause(
        "28(3)(b)",
        "Confidentiality",
        "Everybody who can reach the database or its machine is bound to confidentiality, by contract or by law.",
    ),
    Clause(
        "28(3)(c)",
        "Security",
        "The processor takes the measures of Art. 32 that the record lists under 30(1)(g), and at least: no "
        "access log with addresses, no archived write-ahead log, encrypted disks, and backups without "
        "reports.",
    ),
    Clause(
        "28(3)(d)",
        "Other processors",
        "The processor engages another one only after the controller has agreed to it in writing, binds it by "
        "the same terms, and answers for it (Art. 28(2), 28(4)).",
    ),
    Clause(
        "28(3)(e)",
        "People's rights",
        "The processor passes on requests of data subjects within two working days and answers none itself; "
        "it keeps the endpoint for deletion reachable, for it is how people exercise Art. 17.",
    ),
    Clause(
        "28(3)(f)",
        "Help with Art. 32 to 36",
        "The processor tells the controller of a personal data breach without delay and within 24 hours of "
        "knowing of it, with what Art. 33(3) lists as far as it knows it, and helps with impact assessments "
        "and prior consultation.",
    ),
    Clause(
        "28(3)(g)",
        "Deletion and return",
        "At the end the processor deletes every report and every copy; what is returned is a backup without "
        "reports. The software destroys reports by itself, and the processor does not keep it from doing so.",
    ),
    Clause(
        "28(3)(h)",
        "Evidence and audits",
        "The processor gives the controller what it needs to show that these terms are kept, permits audits "
        "by the controller or an auditor it names, and says at once when it holds an instruction to be "
        "unlawful.",
    ),
)
"""The letters of Art. 28(3), each with clauses in our own words."""


def processor_terms(case: Case) -> Document:
    """A template of terms; it binds nobody until both parties have filled it in and signed it."""
    return case.document(
        "processor-terms",
        "Terms for processors",
        "Art. 28(3) GDPR",
        VERSION,
        Section("parties", "Parties", _parties(case)),
        Section("28(3)", "What is processed", _matter(case)),
        *(Section(one.article, one.title, (confirm(one.words, "law: Art. 28(3) GDPR"),)) for one in CLAUSES),
        Section("28(9)", "Form and signatures", _form(case)),
    )


def _parties(case: Case) -> tuple[Fact, ...]:
    return (*named(case), *processors(case))


def _matter(case: Case) -> tuple[Fact, ...]:
    schema, operations = case.dataset.schema, case.operations
    return (
        derived(
            "Subject matter and nature: receiving, staging, summing and destroying weekly reports of the speed of "
            "language models.",
            "code: metavox_collector.app",
        ),
        derived("Purposes: improve and publish, as people have consented to them.", "code: metavox_privacy.notice"),
        derived(
            f"Duration: that of the service; each report for {operations.kept_days} days after its week's end at "
            f"most, and never more than {KEPT_AT_COLLECTOR.days}.",
            "setting: accept_weeks",
        ),
        derived(
            f"Type of data: the {len(schema.dimensions)} fields and {len(schema.metrics)} metrics of schema "
            f"version {schema.version}, as the record lists them under 30(1)(c).",
            "schema: version",
        ),
        derived(
            "Data subjects: people who run language models and have said yes.", "code: metavox_privacy.consent"
        ),
    )


def _form(case: Case) -> tuple[Fact, ...]:
    facts = [
        confirm("The terms are in writing, which an electronic form is (Art. 28(9)).", "law: Art. 28(9) GDPR"),
        confirm(
            "The controller may take the Commission's standard clauses in their place (Implementing Decision (EU) "
            "2021/915).",
            "law: Art. 28(7) GDPR",
        ),
        fill("Place, date and signatures of both parties: …"),
    ]
    if any(one.country not in EEA for one in case.operations.processors):
        facts.append(
            fill("For processors outside the European Economic Area, the instrument of Art. 46 beside these: …")
        )
    return tuple(facts)
