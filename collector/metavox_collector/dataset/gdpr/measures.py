"""The measures that protect people, each once; record, impact assessment and vocabulary take them from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from metavox_collector.dataset.facts import DELTA, privacy_unit
from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.operations import Transport
from metavox_collector.dataset.gdpr.statements import Fact, confirm, derived
from metavox_privacy.budget import epsilon
from metavox_privacy.retention import KEPT_AT_COLLECTOR

Risk: TypeAlias = Literal["access", "change", "disappearance"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure.

    Attributes:
        title: Short; the impact assessment refers to it by this.
        fact: What is done, and where that comes from.
        against: Which of the three risks it treats.
        term: Its class in the Data Privacy Vocabulary.
    """

    title: str
    fact: Fact
    against: tuple[Risk, ...]
    term: str


_TRANSPORT: Final[dict[Transport, tuple[str, str, bool]]] = {
    "tls": ("The collector ends TLS itself, version 1.2 or 1.3, and speaks nothing else.", "tls_cert", True),
    "proxy": (
        "Reports come through a proxy that is to end TLS; its configuration is the controller's.",
        "trusted_proxies",
        False,
    ),
    "loopback": (
        "The collector listens to its own machine alone, so no network carries reports to it.",
        "host",
        True,
    ),
    "plain": ("No TLS and no proxy is set: reports would cross a network as they are.", "host", False),
}
"""What is done, the setting that says so, and whether the software does it by itself."""


def measures_of(case: Case) -> tuple[Measure, ...]:
    """Every measure, the software's first."""
    return (*_at_the_source(case), *_at_the_collector(case), *_in_the_release(case), *_organisation(case))


def _at_the_source(case: Case) -> Iterator[Measure]:
    schema = case.dataset.schema
    yield Measure(
        "Off until a yes",
        derived(
            "Nothing is recorded or sent before a person has said yes to one of two questions, each of which is "
            "answered apart and is no by default; what cannot be understood means no.",
            "code: metavox_privacy.consent",
        ),
        ("access",),
        "dpv:PrivacyByDefault",
    )
    yield Measure(
        "Minimisation at the source",
        derived(
            f"A report is built on the person's machine from {len(schema.dimensions)} fields with closed "
            f"vocabularies and {len(schema.metrics)} metrics in buckets; there is no field for free text, and no "
            "time finer than the ISO week.",
            "code: metavox_privacy.anonymize",
        ),
        ("access",),
        "dpv:PrivacyByDesign",
    )
    yield Measure(
        "No identifier of a person or a machine",
        derived(
            f"A report is named by the hash of a random token of its own that stays with the person, holds at most "
            f"{schema.cells_per_report} combinations of fields, and histograms of {schema.units} units whatever "
            "the use was.",
            "code: metavox_privacy.report",
        ),
        ("access",),
        "dpv:Deidentification",
    )


def _at_the_collector(case: Case) -> Iterator[Measure]:
    operations = case.operations
    yield Measure(
        "Validation on receipt",
        derived(
            "A report that holds anything beside the schema, or is not whole, is rejected and not kept.",
            "code: metavox_collector.receive",
        ),
        ("access", "change"),
        "dpv:InformationFlowControl",
    )
    yield Measure(
        "No addresses, no access log",
        derived(
            "Addresses and user agents are neither stored nor logged; limits count in memory, by a hash with a "
            "random key that is thrown away each day, and each week for reports.",
            "code: metavox_collector.admission",
        ),
        ("access",),
        "dpv:LoggingPolicy",
    )
    words, setting, is_known = _TRANSPORT[operations.transport]
    source = f"setting: {setting}"
    yield Measure(
        "Encryption on the way",
        derived(words, source) if is_known else confirm(words, source),
        ("access", "change"),
        "dpv:EncryptionInTransfer",
    )
    yield Measure(
        "Limits on what one place can send",
        derived(
            f"At most {operations.sends_per_minute} requests a minute and {operations.reports_per_block} reports a "
            "week for each block of addresses"
            + ("; senders show a token of a closed fleet." if operations.requires_token else "."),
            "setting: reports_per_block",
        ),
        ("change",),
        "dpv:AuthorisationProtocols" if operations.requires_token else "dpv:SecurityMethod",
    )
    yield Measure(
        "Destruction with the close",
        derived(
            "Staged reports are destroyed in the transaction that writes the release, and what no close comes for "
            f"is destroyed {operations.kept_days} days after its week's end, within the "
            f"{KEPT_AT_COLLECTOR.days} that people were promised.",
            "code: metavox_collector.close",
        ),
        ("access",),
        "dpv:DataErasurePolicy",
    )
    yield Measure(
        "Backups without reports",
        derived(
            "A backup holds releases and the ledger, and reports only where an operator asks for them in order "
            "to move the collector.",
            "code: metavox_collector.operate.backup",
        ),
        ("access", "disappearance"),
        "dpv:DataBackupProtocols",
    )


def _in_the_release(case: Case) -> Iterator[Measure]:
    release = case.release
    cost = epsilon(release.nano_rho, DELTA)
    yield Measure(
        "Differential privacy",
        derived(
            "Every number of the release carries discrete Gaussian noise; the release costs ρ = "
            f"{release.nano_rho / 1e9:g} of zero-concentrated differential privacy (ε = {cost:.3g}, δ = "
            f"{DELTA:g}), for {privacy_unit(release.weeks)}.",
            case.entry_source,
        ),
        ("access",),
        "dpv:DifferentialPrivacy",
    )
    yield Measure(
        "A threshold on noisy counts",
        derived(
            "A combination is published when its noisy count reaches its table's threshold: "
            + ", ".join(f"{table.name} {table.threshold}" for table in release.tables)
            + ".",
            "release: thresholds",
        ),
        ("access",),
        "dpv:Anonymisation",
    )
    yield Measure(
        "A budget that refuses",
        derived(
            f"A hash-chained ledger holds every release; it refuses what would pass ρ = "
            f"{case.dataset.statement.yearly_cap / 1e9:g} in an ISO year, and a second release of a week.",
            "code: metavox_privacy.budget",
        ),
        ("access", "change"),
        "dpv:HashFunctions",
    )
    yield Measure(
        "Audit and attacks on each release",
        derived(
            f"{sum(gate.passed for gate in case.gates)} of {len(case.gates)} measurements, of an audit and of "
            "simulated attacks, are within their limits; the audit caught "
            f"{sum(plant.caught for plant in case.plants)} of {len(case.plants)} planted faults.",
            "proof: audit.json and attacks.json",
        ),
        ("access",),
        "dpv:SecurityAssessment",
    )
    yield Measure(
        "A signed pack",
        derived(
            "A signature over the SHA-256 of every file shows any change after publication."
            if case.operations.signs
            else "Every file of the pack is bound by its SHA-256 in one signed statement; the key is given "
            "when the pack is made.",
            "code: metavox_collector.proof",
        ),
        ("change",),
        "dpv:DigitalSignatures",
    )


def _organisation(case: Case) -> Iterator[Measure]:
    kind = case.operations.database
    yield Measure(
        "Access to the database",
        confirm(
            f"The database is {kind}; "
            + (
                "its file is made for its owner alone. Who has that user's or the administrator's rights on the "
                "machine is named."
                if kind == "sqlite"
                else "a role of its own owns it, with a password in a file that the service alone reads. Who else "
                "may connect is named."
            )
        ),
        ("access", "change", "disappearance"),
        "dpv:AccessControlMethod",
    )
    yield Measure(
        "Encrypted disks",
        confirm(
            "The disks under the database and its backups are encrypted; the software itself does not encrypt what "
            "it stores."
        ),
        ("access",),
        "dpv:EncryptionAtRest",
    )
    yield Measure(
        "People and incidents",
        confirm(
            "Whoever operates the collector is named and instructed (Art. 29, 32(4)), and knows the runbook for "
            "incidents and the 72 hours of Art. 33 in docs/operating.md."
        ),
        ("access", "change", "disappearance"),
        "dpv:SecurityProcedure",
    )
