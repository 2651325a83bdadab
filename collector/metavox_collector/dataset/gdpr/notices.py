"""The notices in force: the words that people are shown before they answer, and what Art. 13 asks for besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.record import controller, time_limits, transfers
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived, fill
from metavox_privacy.notice import LANGUAGES, QUESTIONS, Language, lay_out, notice, notice_hash
from metavox_privacy.receipt_graph import BUYERS

VERSION: Final = "1.0"

_IN_NOTICE: Final = "code: metavox_privacy.notice"


def notices(case: Case) -> Document:
    """The words in each language, then one section for each letter of Art. 13(1) and 13(2)."""
    return case.document(
        "notice",
        "Notices in force",
        "Art. 12, 13 GDPR",
        VERSION,
        *_in_each_language(case),
        *_elements(case),
    )


def shown(case: Case, language: Language) -> str:
    """The notice and the questions as a terminal shows them."""
    return "\n".join((lay_out(notice(case.dataset.schema, language)), *QUESTIONS[language].values()))


def _in_each_language(case: Case) -> Iterator[Section]:
    schema = case.dataset.schema
    for language in LANGUAGES:
        facts = (
            derived(f"Language: {language}. Version of the list: {schema.version}.", "schema: version"),
            derived(
                f"SHA-256 of words, questions and list: {notice_hash(schema, language)}. It is in each receipt, "
                "and a yes to other words pauses until the person has agreed again.",
                "code: metavox_privacy.receipt",
            ),
        )
        yield Section(f"words ({language})", "As shown before the question", facts, verbatim=shown(case, language))


def _elements(case: Case) -> tuple[Section, ...]:
    return (
        Section("13(1)(a)", "Identity of the controller", _identity(case)),
        Section("13(1)(b)", "Data protection officer", (_second_layer("how their officer is reached"),)),
        Section("13(1)(c)", "Purposes and legal basis", _purposes(case)),
        Section("13(1)(d)", "Legitimate interests", _no_interests()),
        Section("13(1)(e)", "Recipients", _recipients()),
        Section("13(1)(f)", "Transfers", (*transfers(case), _second_layer("where the database is"))),
        Section("13(2)(a)", "For how long", time_limits(case)),
        Section("13(2)(b)", "Rights", _rights(case)),
        Section("13(2)(c)", "Withdrawal", _withdrawal(case)),
        Section("13(2)(d)", "Complaint", _complaint()),
        Section("13(2)(e)", "Whether the data must be given", _voluntary()),
        Section("13(2)(f)", "Automated decisions", _no_decisions()),
    )


def _second_layer(what: str) -> Fact:
    return confirm(
        f"The words before the question cannot say {what}, for they are the software's and name whoever runs the "
        "collector. The controller publishes it at the collector's address before the first report is taken."
    )


def _identity(case: Case) -> tuple[Fact, ...]:
    return (
        told(case, "METAVOX_COLLECTOR_URL", "The words say that the controller is whoever runs the collector."),
        *controller(case),
        _second_layer("who they are"),
    )


def told(case: Case, token: str, words: str) -> Fact:
    """That the words say something, as far as a token that is the same in every language shows it."""
    missing = [language for language in LANGUAGES if token not in notice(case.dataset.schema, language)]
    if missing:
        lacking = f"The words lack “{token}” ({', '.join(missing)}); the controller tells it elsewhere."
        return confirm(lacking, _IN_NOTICE)
    return derived(words, _IN_NOTICE)


def _purposes(case: Case) -> tuple[Fact, ...]:
    return (
        derived("The words name both purposes, the sale among them.", _IN_NOTICE),
        told(case, "6(1)(a)", "The words name consent under Art. 6(1)(a) as the basis."),
    )


def _no_interests() -> tuple[Fact, ...]:
    return (derived("None: the basis is consent, and nothing rests on Art. 6(1)(f).", _IN_NOTICE),)


def _recipients() -> tuple[Fact, ...]:
    return (
        derived(f"The words name the kinds of buyers: {', '.join(BUYERS)}.", "code: metavox_privacy.receipt_graph"),
    )


def _rights(case: Case) -> tuple[Fact, ...]:
    return (
        derived("The words name access, erasure and portability.", _IN_NOTICE),
        told(case, "--delete", "The words name the command that erases what is not released."),
        confirm(
            "The words do not name rectification, restriction and objection; the second layer does, as rights.md "
            "treats them."
        ),
    )


def _withdrawal(case: Case) -> tuple[Fact, ...]:
    return (
        told(
            case,
            "telemetry off",
            "The words name the command that withdraws, which is as short as the one that consents.",
        ),
    )


def _complaint() -> tuple[Fact, ...]:
    return (
        derived("The words name the complaint to a data protection authority.", _IN_NOTICE),
        fill("The authority that is competent for the controller (Art. 55, 56): …"),
    )


def _voluntary() -> tuple[Fact, ...]:
    return (derived("The words say that nothing in the software depends on the answer.", _IN_NOTICE),)


def _no_decisions() -> tuple[Fact, ...]:
    return (
        derived(
            "There is no automated decision about anybody, and no profile: nothing links two reports.",
            "code: metavox_privacy.report",
        ),
    )
