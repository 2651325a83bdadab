"""The legal questions that are open, as open: what is unclear, and what is done until they are settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.operations import EEA
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived, fill

VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        law: The provision it is about; the section's name.
        title: The question, short.
        unclear: Why it is open.
        meanwhile: How the software behaves until it is settled.
        source: Where that behaviour is.
    """

    law: str
    title: str
    unclear: str
    meanwhile: str
    source: str


QUESTIONS: Final = (
    Question(
        "Directive 2002/58/EC, Art. 5(3)",
        "Is the journal on a person's machine stored with consent, and is that the same consent?",
        "Storing counts on terminal equipment needs consent unless the user has asked for the service. EDPB "
        "Guidelines 2/2023 read the provision widely. Whether one answer can be consent to storing and to "
        "processing is judged differently, and the Commission's proposal of 19 November 2025 (Digital Omnibus, "
        "COM(2025) 837) would change both provisions.",
        "Nothing is stored before a yes, and the notice says what is stored, where and for how long.",
        "code: metavox_privacy.consent",
    ),
    Question(
        "Art. 4(1), Recital 26 GDPR",
        "Is a release with differential privacy outside the GDPR, also for who made it?",
        "No authority has said at which ε and δ an aggregate is anonymous. After C-413/23 P the answer may "
        "differ between the controller and a buyer; guidance of the EDPB on anonymisation is in preparation. "
        "The words that people are shown say that the datasets carry noise, and do not call them anonymous.",
        "The whole processing up to the release is treated as one of personal data; the release states its "
        "parameters and measurements. The commercial agreement forbids re-identification; the community licence "
        "forbids nothing, so what protects is the noise.",
        "code: metavox_privacy.budget",
    ),
    Question(
        "Art. 4(1), 11 GDPR",
        "Is a staged report personal data at all?",
        "It names nobody; a rare combination of device and model may point at somebody for who knows them. "
        "Which means are reasonably likely depends on what else the controller holds.",
        "Reports are treated as personal data: consent, rights, retention and security are those of the GDPR.",
        "code: metavox_privacy.report",
    ),
    Question(
        "Art. 26 GDPR",
        "Is an employer whose machines contribute a joint controller?",
        "An employer may name the collector and say yes for a deployment. Whether that decides about purposes "
        "and means together with the controller is open, and so is whether an employee's yes is free (Art. 7, "
        "88).",
        "A deployment contributes with a receipt of a person who answers for it; an administrator can force "
        "off and can never say yes for users.",
        "code: metavox_privacy.consent",
    ),
    Question(
        "Art. 7(3), 17 GDPR",
        "What is left of a withdrawal once a week is released?",
        "A sum with noise cannot be taken back. That this is compatible with Art. 17 rests on the release being no "
        "personal data.",
        "The notice says it before the question; a week stays deletable until its close.",
        "code: metavox_privacy.retention",
    ),
    Question(
        "Art. 6(1)(a), 7(4) GDPR",
        "May data collected on consent be sold?",
        "The GDPR forbids no sale that people have consented to; authorities look closely at whether the "
        "consent was specific and informed.",
        "The sale has a question of its own, which names the kinds of buyers; nothing in the software depends "
        "on it.",
        "code: metavox_privacy.notice",
    ),
    Question(
        "Art. 49 GDPR",
        "Could a derogation carry deliveries to third countries, were a release personal data?",
        "Art. 49(1)(a) asks for explicit consent after being told of the risks of that country; the notice "
        "does not ask for it, and the EDPB reads derogations narrowly (Guidelines 2/2018).",
        "No transfer is based on Art. 49.",
        "code: metavox_privacy.notice",
    ),
    Question(
        "Art. 35(1), 36 GDPR",
        "Is an impact assessment obligatory here?",
        "No case of Art. 35(3) is plain; innovative use and a large number of people may bring it onto an "
        "authority's list (WP248). Prior consultation is due if a high risk remained.",
        "One is made for each release, whether it is owed or not.",
        "code: metavox_collector.dataset.gdpr.impact",
    ),
    Question(
        "Regulation (EU) 2023/2854 (Data Act)",
        "Are speeds that a device shows in use data of a connected product or a related service?",
        "The Act gives users of such products rights in the data; whether inference software on a general "
        "computer is a related service is unsettled.",
        "Users have all data on their own machine, and consent is asked for any use.",
        "code: metavox_privacy.consent",
    ),
    Question(
        "Regulation (EU) 2024/1689 (AI Act)",
        "Does the Act say anything to who publishes such figures?",
        "MetaVox trains no model and is no AI system that is placed on the market by this release; a buyer may "
        "use the figures in one.",
        "The licences put a buyer's own use into the buyer's responsibility.",
        "code: metavox_collector.dataset.licences",
    ),
    Question(
        "Regulation (EU) 2022/868 (Data Governance Act)",
        "Is the collector a data intermediation service, or data altruism?",
        "It sells data that it makes itself from contributions to it, and does not bring holders and users "
        "together; it is not registered and claims no label.",
        "No claim of either is made anywhere.",
        "code: metavox_collector.dataset.licences",
    ),
    Question(
        "Directive 96/9/EC",
        "Has a release the database right of its maker?",
        "The right protects investment in obtaining data and not in creating them (C-203/02 British "
        "Horseracing Board); which of the two this is can be argued.",
        "The licences give what they give whether that right exists or not.",
        "code: metavox_collector.dataset.licences",
    ),
)
"""In the order in which a reader meets them."""


def questions(case: Case) -> Document:
    """One section for each question; every answer is the controller's to confirm."""
    return case.document(
        "open-questions",
        "Open legal questions",
        "Art. 5(2), 24 GDPR",
        VERSION,
        *(Section(one.law, one.title, _facts(one)) for one in QUESTIONS),
        Section("date", "When this was looked at", _date(case)),
    )


def _facts(question: Question) -> tuple[Fact, ...]:
    return (
        confirm(f"Open: {question.unclear}", f"law: {question.law}"),
        derived(f"Meanwhile: {question.meanwhile}", question.source),
    )


def _date(case: Case) -> tuple[Fact, ...]:
    country = case.dataset.publisher.country
    facts = [
        confirm(
            "The state of law is that of November 2026 as far as its authors know it; counsel brings it up to date."
        ),
        fill("Who has looked at these questions for the controller, and when: …"),
    ]
    if country is None or country not in EEA:
        facts.append(fill("Which law applies besides, where the controller is established: …"))
    return tuple(facts)
