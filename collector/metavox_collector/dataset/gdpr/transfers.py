"""The transfer statement: where reports are, and which questions of Chapter V that raises."""

from __future__ import annotations

from typing import Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.operations import EEA
from metavox_collector.dataset.gdpr.record import transfers as of_record
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, derived, fill

VERSION: Final = "1.0"


def transfers(case: Case) -> Document:
    """Sending, staging, processors and publication, each by itself."""
    return case.document(
        "transfers",
        "Transfer statement",
        "Chapter V GDPR (Art. 44 to 50)",
        VERSION,
        Section("sending", "From a person to the collector", _sending()),
        Section("staging", "Where reports are staged", of_record(case)),
        Section("processors", "Processors", _processors(case)),
        Section("publication", "Publication and sale of sums with noise", _publication(case)),
    )


def _sending() -> tuple[Fact, ...]:
    return (
        derived(
            "A report goes from the person's machine to the address that they have set, and to no other one: the "
            "software has none built in, and follows no redirect.",
            "code: metavox.telemetry.upload.transport",
        ),
        confirm(
            "That a person sends their own data to a controller abroad is no transfer in the sense of Chapter "
            "V (EDPB Guidelines 05/2021); Art. 3(2) and Art. 27 are to be looked at for a controller outside "
            "the Union.",
            "law: EDPB Guidelines 05/2021",
        ),
    )


def _processors(case: Case) -> tuple[Fact, ...]:
    named = case.operations.processors
    if not named:
        return (derived("The settings name no processor.", "setting: processors"),)
    return tuple(
        derived(f"{one.name} is in {one.country}, in the European Economic Area.", "setting: processors")
        if one.country in EEA
        else fill(
            f"{one.name} is in {one.country}, outside the European Economic Area. Adequacy decision in force "
            "(Art. 45), or standard contractual clauses (Implementing Decision (EU) 2021/914) with an "
            "assessment of that country's law, or another safeguard of Art. 46: …"
        )
        for one in named
    )


def _publication(case: Case) -> tuple[Fact, ...]:
    who = (
        "anybody anywhere"
        if case.release.purpose == "publish"
        else "the maintainers of MetaVox, wherever they are,"
    )
    return (
        derived(
            f"The release for the purpose {case.release.purpose} holds sums with noise and no report; {who} may "
            "receive it.",
            "release: tables",
        ),
        confirm(
            "If the release is no personal data, Chapter V does not apply to it; see anonymisation.md. If it "
            "were, making it available on the internet is not by itself a transfer to a third country "
            "(C-101/01 Lindqvist), while delivery to a buyer in one would be.",
            "law: C-101/01",
        ),
    )
