"""How each right of Art. 12 to 22 is met, and where it cannot be, why."""

from __future__ import annotations

from typing import Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.record import named
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived

VERSION: Final = "1.0"

_JOURNAL: Final = "code: metavox_privacy.report"


def rights(case: Case) -> Document:
    """One section for each right, and what comes before all of them: that nobody can be recognised."""
    return case.document(
        "rights",
        "Rights of data subjects",
        "Art. 7(3), 11, 12 to 22, 77 GDPR",
        VERSION,
        Section("11", "Why the collector cannot recognise anybody", _recognition()),
        Section("12", "How and when a request is answered", _modalities(case)),
        Section("13, 14", "Information", _information()),
        Section("15", "Access", _access()),
        Section("16", "Rectification", _rectification()),
        Section("17", "Erasure", _erasure(case)),
        Section("18", "Restriction", _restriction()),
        Section("19", "Telling recipients", _telling()),
        Section("20", "Portability", _portability()),
        Section("21", "Objection", _objection()),
        Section("22", "Automated decisions", _decisions()),
        Section("7(3)", "Withdrawal of consent", _withdrawal()),
        Section("77", "Complaint", _complaint()),
    )


def _recognition() -> tuple[Fact, ...]:
    return (
        derived(
            "A report holds no name, address, account or identifier that lasts. It is named by SHA-256 of a random "
            "token that is on the person's machine alone.",
            _JOURNAL,
        ),
        confirm(
            "So the controller is not able to identify the data subject, and need not collect more in order to "
            "be (Art. 11(1)); Art. 15 to 20 apply when the person brings the token, which is the additional "
            "information of Art. 11(2).",
            "law: Art. 11 GDPR",
        ),
    )


def _modalities(case: Case) -> tuple[Fact, ...]:
    return (
        derived(
            "Every right that can be exercised is a command on the person's own machine, at once and for nothing: "
            "metavox telemetry receipt, journal, preview, export, off, off --delete.",
            "code: metavox_privacy.receipt_graph",
        ),
        *named(case),
        confirm("Requests that arrive otherwise are answered within a month (Art. 12(3)), as the runbook says."),
    )


def _information() -> tuple[Fact, ...]:
    return (
        derived("Before the question, in the words of notice.md.", "code: metavox_privacy.notice"),
        derived(
            "Art. 14 does not arise: nothing is obtained from anybody but the person.",
            "code: metavox_collector.receive",
        ),
    )


def _access() -> tuple[Fact, ...]:
    return (
        derived(
            "metavox telemetry export writes the answer, the counts, the very bytes of each report and its token.",
            _JOURNAL,
        ),
        derived(
            "At the collector there is no endpoint and no command that shows a report, on purpose; its sender "
            "has the same bytes. After the close the report exists no more, and no sum with noise is about one "
            "person.",
            "code: metavox_collector.endpoints",
        ),
    )


def _rectification() -> tuple[Fact, ...]:
    return (
        derived(
            "A report says what a program counted; nobody types it. Before the close a wrong one is deleted by its "
            "token, and is not replaced, for a report of that name is not taken again.",
            "code: metavox_collector.endpoints",
        ),
    )


def _erasure(case: Case) -> tuple[Fact, ...]:
    operations = case.operations
    return (
        derived(
            "metavox telemetry off --delete, or DELETE /v1/reports/ with the token, erases a report until its "
            "week is closed, and a copy that is still under way is not taken afterwards.",
            "code: metavox_collector.endpoints",
        ),
        derived(
            f"A week can be closed {operations.grace_days} days after its end, and is kept for "
            f"{operations.kept_days} at most; after that there is nothing of the report to erase.",
            "setting: grace_days",
        ),
        derived(
            f"One block of addresses may ask {operations.deletions_per_minute} times a minute.",
            "setting: deletions_per_minute",
        ),
        confirm(
            "What is in a published sum with noise cannot be taken out of it. People are told so before they "
            "answer; that the release is no longer personal data of theirs is the reading of anonymisation.md.",
            "law: Art. 17, Recital 26 GDPR",
        ),
    )


def _restriction() -> tuple[Fact, ...]:
    return (
        derived(
            "metavox telemetry off stops everything that is to come. A single staged report is not set aside: "
            "it is deleted by its token, or part of its week's sum.",
            "code: metavox_privacy.consent",
        ),
        confirm(
            "Restriction of one report is refused under Art. 11(2) unless its token is brought.",
            "law: Art. 18 GDPR",
        ),
    )


def _telling() -> tuple[Fact, ...]:
    return (
        derived(
            "Reports are disclosed to no recipient, so nobody has to be told of an erasure.",
            "code: metavox_collector.endpoints",
        ),
    )


def _portability() -> tuple[Fact, ...]:
    return (
        derived(
            "metavox telemetry export is JSON, and the reports in it are OTLP, an open format that other "
            "collectors read.",
            "code: metavox_privacy.wire",
        ),
    )


def _objection() -> tuple[Fact, ...]:
    return (
        derived(
            "Art. 21 is about Art. 6(1)(e) and (f), on which nothing rests here; who does not want it any more "
            "withdraws.",
            "code: metavox_privacy.consent",
        ),
    )


def _decisions() -> tuple[Fact, ...]:
    return (
        derived(
            "No decision about anybody is made from reports, by a machine or a person.",
            "code: metavox_collector.close",
        ),
    )


def _withdrawal() -> tuple[Fact, ...]:
    return (
        derived(
            "metavox telemetry off, at any time, without a connection; it holds for a program that is running "
            "within a second. Each purpose can be withdrawn by itself.",
            "code: metavox_privacy.consent",
        ),
        derived("A withdrawal is kept as a receipt that says so.", "code: metavox_privacy.receipt"),
    )


def _complaint() -> tuple[Fact, ...]:
    return (derived("The notice and each receipt name the authorities.", "code: metavox_privacy.receipt_graph"),)
