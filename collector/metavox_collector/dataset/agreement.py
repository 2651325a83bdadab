"""The commercial agreement, clause by clause, each with what it permits, forbids or obliges as an ODRL rule.

The text and the ODRL policy both derive from here, so neither says what the other does not. A clause that only
explains others (definitions, liability, applicable law) has no rule and says so. It is a template: whoever uses it
has it read by a lawyer, and it binds nobody before both parties have signed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["permission", "prohibition", "obligation"]
Party: TypeAlias = Literal["customer", "publisher"]
Target: TypeAlias = Literal["data", "results"]

OWN_ACTIONS: Final = {
    "analyse": "Compute with the data, train or evaluate systems with it, and draw conclusions from it.",
    "audit": "Ask for, and look at, the records that show whether the agreement is kept.",
    "decideAboutPersons": "Base a decision about an individual person on the data.",
    "deliver": "Hand over a release, complete and signed.",
    "keepRecords": "Write down who holds copies, where, and since when.",
    "linkToPersons": "Combine the data with other information in order to learn about a person or their device.",
    "misrepresent": "Show simulated figures as measurements, or figures as more exact than they are stated to be.",
    "passOn": "Impose on a recipient the same duties, and forward to it every recall.",
    "reidentify": "Try to find out whether, or what, a particular person, household or installation contributed.",
    "warrant": "Vouch for a statement, and be liable for its being true.",
}
"""Actions that ODRL's vocabulary lacks, each included in ``odrl:use``, with what it means."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """When a rule holds.

    Attributes:
        left: An ODRL left operand, such as ``event``.
        operator: An ODRL operator, such as ``lteq``.
        right: A duration after ISO 8601, or a word.
    """

    left: str
    operator: str
    right: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What a clause permits, forbids or obliges.

    Attributes:
        kind: Which of the three.
        action: A name of ``OWN_ACTIONS``, else one of ODRL's vocabulary.
        assignee: Whom it concerns; the other party is the assigner.
        constraints: All of which must hold.
        target: What it is about: the data, or what was made of it.
    """

    kind: Kind
    action: str
    assignee: Party = "customer"
    constraints: tuple[Constraint, ...] = ()
    target: Target = "data"


@dataclass(frozen=True, slots=True)
class Clause:
    """One numbered clause.

    Attributes:
        number: Like ``4.1``; the part before the dot is the section's.
        text: What is agreed; square brackets are blanks that the parties fill.
        rule: What it means for a machine; None where it only explains other clauses.
    """

    number: str
    text: str
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its clauses."""

    heading: str
    clauses: tuple[Clause, ...]


def _withdrawn(days: int) -> tuple[Constraint, ...]:
    return Constraint("event", "eq", "withdrawn"), Constraint("delayPeriod", "lteq", f"P{days}D")


SECTIONS: Final = (
    Section(
        "What the words mean",
        (
            Clause("1.1", '"Data" means the tables of the releases named in Schedule A, in whatever format.'),
            Clause(
                "1.2",
                '"Release" means one signed pack of Data for one period. "Withdrawn" means that the Publisher\'s '
                "ledger holds a correction with that reason about the Release.",
            ),
            Clause(
                "1.3",
                '"Results" means what is obtained by computing with Data and from which the Data cannot be '
                "rebuilt: figures, charts, texts, models, and decisions about products.",
            ),
            Clause(
                "1.4",
                '"Installation" means one copy of software whose user agreed to contribute. "Person" means whoever '
                "uses one, and everybody whose information it handled.",
            ),
        ),
    ),
    Section(
        "What the Customer may do",
        (
            Clause(
                "2.1",
                "The Customer may use the Data within its business for any lawful purpose that section 3 does not "
                "exclude: analysis, research, planning, the development and the comparison of products, and the "
                "training and evaluation of models. The right is not exclusive and holds in every country.",
                Rule("permission", "analyse"),
            ),
            Clause(
                "2.2",
                "The Customer may make Results, and may use, publish and sell them without limit of time.",
                Rule("permission", "derive"),
            ),
            Clause(
                "2.3",
                "The Customer may give Data to companies of its group, and to those who process it on the "
                "Customer's behalf, if they are bound in writing as the Customer is by sections 3 to 6.",
                Rule(
                    "permission",
                    "distribute",
                    constraints=(Constraint("recipient", "isAnyOf", "group companies and processors"),),
                ),
            ),
        ),
    ),
    Section(
        "What the Customer must not do",
        (
            Clause(
                "3.1",
                "The Customer must not re-identify: it must not try to find out whether a particular Person or "
                "Installation is among the contributors, nor what it contributed.",
                Rule("prohibition", "reidentify"),
            ),
            Clause(
                "3.2",
                "The Customer must not link Data to other information, nor Releases to one another, in order to "
                "learn about a particular Person or Installation.",
                Rule("prohibition", "linkToPersons"),
            ),
            Clause(
                "3.3",
                "The Customer must not base a decision about an individual Person on the Data.",
                Rule("prohibition", "decideAboutPersons"),
            ),
            Clause(
                "3.4",
                "The Customer must not sell, rent or publish the Data itself, nor give it to anybody whom "
                "clause 2.3 does not name.",
                Rule("prohibition", "sell"),
            ),
            Clause(
                "3.5",
                "The Customer must not present figures marked as synthetic as measurements, nor a figure as more "
                "exact than the interval that the Release states for it.",
                Rule("prohibition", "misrepresent"),
            ),
        ),
    ),
    Section(
        "Recall",
        (
            Clause(
                "4.1",
                "When a Release is Withdrawn, the Customer stops using it and deletes every copy within 14 days of "
                "the Publisher's notice, backups at the latest when they are next overwritten.",
                Rule("obligation", "delete", constraints=_withdrawn(14)),
            ),
            Clause(
                "4.2",
                "Within 21 days of the notice the Customer confirms the deletion in writing.",
                Rule("obligation", "inform", constraints=_withdrawn(21)),
            ),
            Clause(
                "4.3",
                "The Customer forwards the notice to everybody who received the Release from it within 3 days, and "
                "answers for their keeping to it.",
                Rule("obligation", "passOn", constraints=_withdrawn(3)),
            ),
            Clause(
                "4.4",
                "Results that were made before the notice may be kept and used, unless the notice says that they "
                "could reveal something about a Person.",
                Rule("permission", "use", constraints=(Constraint("event", "eq", "withdrawn"),), target="results"),
            ),
        ),
    ),
    Section(
        "Incidents",
        (
            Clause(
                "5.1",
                "Whoever at the Customer's finds that Data may reveal something about a Person or Installation "
                "tells nobody else, and the Customer tells the Publisher within 3 days.",
                Rule(
                    "obligation",
                    "inform",
                    constraints=(
                        Constraint("event", "eq", "re-identification suspected"),
                        Constraint("delayPeriod", "lteq", "P3D"),
                    ),
                ),
            ),
        ),
    ),
    Section(
        "Records and audit",
        (
            Clause(
                "6.1",
                "The Customer keeps a record of where copies of the Data are and who received them, for the term "
                "and one year after it.",
                Rule("obligation", "keepRecords", constraints=(Constraint("elapsedTime", "lteq", "P1Y"),)),
            ),
            Clause(
                "6.2",
                "Once a year, and after an incident, the Publisher may audit whether sections 3 to 6 are kept, "
                "with 30 days' notice, in business hours, by itself or an auditor bound to secrecy. Each party "
                "bears its own cost; the Customer bears both if the audit shows a breach of section 3.",
                Rule("permission", "audit", "publisher", (Constraint("delayPeriod", "gteq", "P30D"),)),
            ),
        ),
    ),
    Section(
        "Attribution",
        (
            Clause(
                "7.1",
                "Where Results are published, the Customer names the dataset, its period and the Publisher, for "
                'example "MetaVox, 2026-W47, [Publisher]".',
                Rule(
                    "obligation",
                    "attribute",
                    constraints=(Constraint("event", "eq", "published"),),
                    target="results",
                ),
            ),
        ),
    ),
    Section(
        "What the Publisher does",
        (
            Clause(
                "8.1",
                "The Publisher delivers every Release of Schedule A within [14] days of its publication, complete "
                "with its documents, its proof and its signature.",
                Rule("obligation", "deliver", "publisher", (Constraint("delayPeriod", "lteq", "P14D"),)),
            ),
            Clause(
                "8.2",
                "The Publisher tells the Customer within 3 days when a Release is Withdrawn or corrected, and why.",
                Rule("obligation", "inform", "publisher", _withdrawn(3)),
            ),
            Clause(
                "8.3",
                "The Publisher warrants that it may license the Data, that whoever contributed had agreed to its "
                "publication and sale, and that the noise was drawn as the Release's proof states.",
                Rule("obligation", "warrant", "publisher"),
            ),
            Clause(
                "8.4",
                "It warrants nothing else. The Data comes from volunteers and is not a sample of all "
                "installations; figures carry noise; cells with few contributors are missing.",
            ),
        ),
    ),
    Section(
        "Price",
        (
            Clause(
                "9.1",
                "The Customer pays [amount and currency] for each [period], in advance, within 30 days of the "
                "invoice.",
                Rule("obligation", "compensate"),
            ),
        ),
    ),
    Section(
        "Liability",
        (
            Clause(
                "10.1",
                "Neither party limits its liability for intent, for gross negligence, for injury to persons, or "
                "where the law does not allow it; nor the Customer for a breach of clause 3.1 or 3.2.",
            ),
            Clause(
                "10.2",
                "Otherwise each party's liability in a year is limited to what is paid for that year, and excludes "
                "lost profit.",
            ),
        ),
    ),
    Section(
        "Term",
        (
            Clause(
                "11.1",
                "The agreement runs from [date] for [one year], and is renewed by the year unless a party ends it "
                "in writing 60 days before.",
                Rule("permission", "use", constraints=(Constraint("elapsedTime", "lteq", "P1Y"),)),
            ),
            Clause(
                "11.2",
                "When it ends the Customer deletes the Data within 30 days. Results stay with the Customer.",
                Rule(
                    "obligation",
                    "delete",
                    constraints=(
                        Constraint("event", "eq", "agreement ended"),
                        Constraint("delayPeriod", "lteq", "P30D"),
                    ),
                ),
            ),
            Clause(
                "11.3",
                "A party may end it at once if the other breaks sections 3 to 5 and does not put it right within "
                "14 days. Sections 3, 4, 5 and 10 stay in force after the end.",
            ),
        ),
    ),
    Section(
        "General",
        (
            Clause(
                "12.1",
                "For the Data that it receives under this agreement the Customer has chosen these terms and not "
                "the Community Data License Agreement, under which the Publisher offers the same Data to "
                "everybody. Nothing here takes from what a copy received under that licence allows.",
            ),
            Clause("12.2", "The agreement is under the law of [country]; the courts of [place] decide."),
            Clause("12.3", "Changes need writing. If one clause is void the others stay in force."),
        ),
    ),
)


def clauses() -> tuple[Clause, ...]:
    """Every clause, in order."""
    return tuple(clause for section in SECTIONS for clause in section.clauses)
