"""The processing in the W3C Data Privacy Vocabulary 2, as JSON-LD whose context is inline.

The vocabulary names techniques and has no numbers; ρ, ε and thresholds are in the documents beside this one.
Whether the release is ``dpv:AnonymisedData`` is the controller's to say, so it is called derived data, which it is
without doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.cnil import GAUGES, ITEMS
from metavox_collector.dataset.gdpr.impact import gauges
from metavox_collector.dataset.gdpr.measures import Risk, measures_of
from metavox_collector.dataset.gdpr.operations import EEA, Processor
from metavox_collector.dataset.gdpr.record import fields_of
from metavox_collector.dataset.gdpr.risks import ITEM_OF
from metavox_privacy.fields import PURPOSES, Purpose
from metavox_privacy.notice import LANGUAGES, QUESTIONS, notice_hash
from metavox_privacy.receipt_graph import BUYERS
from metavox_privacy.retention import RETENTION

Node = dict[str, Any]

NAMESPACES: Final = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "metavox": "urn:x-metavox:",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}

_CLASSES: Final = """
    DPIA DataController DataProcessor DataProtectionOfficer DataSubject DerivedData Likelihood PersonalData
    PersonalDataProcess PrivacyNotice Purpose ROPA Recipient Risk Severity StorageDuration
"""
_VALUES: Final = """
    ImproveExistingProductsAndServices SellDataToThirdParties ResearchAndDevelopment Optional DataSubjectDataSource
    ObservedPersonalData Collect Transmit Store Aggregate Anonymise Destruct MakeAvailable
"""
_MEASURES: Final = """
    AccessControlMethod Anonymisation AuthorisationProtocols DataBackupProtocols DataErasurePolicy Deidentification
    DifferentialPrivacy DigitalSignatures EncryptionAtRest EncryptionInTransfer HashFunctions InformationFlowControl
    LoggingPolicy PrivacyByDefault PrivacyByDesign SecurityAssessment SecurityMethod SecurityProcedure
"""
_PROPERTIES: Final = """
    hasApplicableLaw hasDataController hasDataProcessor hasDataProtectionOfficer hasDataSource hasDataSubject
    hasDuration hasImpactAssessment hasJurisdiction hasLegalBasis hasLikelihood hasLocation hasName hasNecessity
    hasNotice hasOutcome hasPersonalData hasProcess hasProcessing hasPurpose hasRecipient hasRecordOfActivity
    hasRight hasRisk hasSeverity hasStorageCondition hasTechnicalOrganisationalMeasure isExercisedAt
    isMitigatedByMeasure
"""
_PROVISIONS: Final = "GDPR A6-1-a A7-3 A13 A15 A16 A17 A18 A19 A20 A21 A22 A77"

TERMS: Final = frozenset(
    [f"dpv:{name}" for group in (_CLASSES, _VALUES, _MEASURES, _PROPERTIES) for name in group.split()]
    + [f"eu-gdpr:{name}" for name in _PROVISIONS.split()]
)
"""Every term of DPV 2 that is used, as its published tables had them in November 2026; a check holds to it."""

_BROADER: Final[Mapping[Purpose, list[str]]] = {
    "improve": ["dpv:ImproveExistingProductsAndServices"],
    "publish": ["dpv:SellDataToThirdParties", "dpv:ResearchAndDevelopment"],
}
_PROCESSING: Final = [
    f"dpv:{name}"
    for name in ("Collect", "Transmit", "Store", "Aggregate", "Anonymise", "Destruct", "MakeAvailable")
]
_EXERCISED: Final = {
    "A7-3": "metavox telemetry off",
    "A13": "the notice before the question; notice.md",
    "A15": "metavox telemetry export",
    "A16": "deletion by token; rights.md",
    "A17": "metavox telemetry off --delete",
    "A18": "rights.md",
    "A19": "rights.md",
    "A20": "metavox telemetry export",
    "A21": "metavox telemetry off",
    "A22": "rights.md",
    "A77": "a data protection authority",
}
_LINKS: Final = (
    *("dpv:hasApplicableLaw", "dpv:hasDataSource", "dpv:hasJurisdiction", "dpv:hasLegalBasis", "dpv:hasNecessity"),
    *("dpv:hasProcessing", "dpv:isMitigatedByMeasure", "skos:broader"),
)


def vocabulary(case: Case) -> Node:
    """The JSON-LD document."""
    publisher, release = case.dataset.publisher, case.release
    return {
        "@context": {**NAMESPACES, **{name: {"@type": "@id"} for name in _LINKS}},
        "@id": f"urn:sha256:{release.sha256}",
        "@type": "dpv:PersonalDataProcess",
        "dct:title": f"MetaVox, {case.period}: from reports to a release with differential privacy",
        "dct:issued": {"@type": "xsd:date", "@value": case.dataset.issued.isoformat()},
        "metavox:schemaVersion": release.schema_version,
        "metavox:synthetic": case.dataset.synthetic,
        "metavox:ledgerEntry": case.entry.hash,
        "dpv:hasDataController": {
            "@id": "metavox:controller",
            "@type": "dpv:DataController",
            "dpv:hasName": publisher.name,
            "schema:address": publisher.address,
            "schema:email": publisher.email,
            **({"schema:url": publisher.url} if publisher.url else {}),
            **({"schema:addressCountry": publisher.country} if publisher.country else {}),
            **_officer(publisher.dpo),
        },
        "dpv:hasDataProcessor": [_processor(one) for one in case.operations.processors],
        "dpv:hasDataSubject": {
            "@id": "metavox:person",
            "@type": "dpv:DataSubject",
            "dct:description": "a person who runs language models and has said yes; never named",
        },
        "dpv:hasProcess": [_process(purpose, case) for purpose in PURPOSES],
        "dpv:hasTechnicalOrganisationalMeasure": list(_measures(case)),
        "dpv:hasRisk": [_risk(risk, case) for risk in ITEM_OF],
        "dpv:hasRight": [
            {"@type": f"eu-gdpr:{right}", "dpv:isExercisedAt": where} for right, where in _EXERCISED.items()
        ],
        "dpv:hasNotice": [
            {
                "@type": "dpv:PrivacyNotice",
                "dct:language": language,
                "metavox:sha256": notice_hash(case.dataset.schema, language),
            }
            for language in LANGUAGES
        ],
        "dpv:hasRecordOfActivity": {"@type": "dpv:ROPA", "dct:source": "record.json"},
        "dpv:hasImpactAssessment": {"@type": "dpv:DPIA", "dct:source": "dpia.json"},
        "dpv:hasOutcome": {
            "@type": "dpv:DerivedData",
            "dct:description": "sums with noise; whether they are anonymised in law: anonymisation.json",
            "metavox:sha256": release.sha256,
        },
        "dpv:hasApplicableLaw": "eu-gdpr:GDPR",
        **_jurisdiction(case),
    }


def terms_in(content: object) -> set[str]:
    """Every term of the vocabulary that a JSON-LD document uses, as key or as value."""
    if isinstance(content, Mapping):
        inner = [value for name, value in content.items() if name != "@context"]
        return {name for name in content if _is_term(name)}.union(*map(terms_in, inner))
    if isinstance(content, list):
        return set().union(*map(terms_in, content))
    return {content} if isinstance(content, str) and _is_term(content) else set()


def _is_term(text: str) -> bool:
    return text.startswith(("dpv:", "eu-gdpr:"))


def _officer(contact: str | None) -> Node:
    if contact is None:
        return {}
    return {"dpv:hasDataProtectionOfficer": {"@type": "dpv:DataProtectionOfficer", "schema:contactPoint": contact}}


def _processor(one: Processor) -> Node:
    return {
        "@type": "dpv:DataProcessor",
        "dpv:hasName": one.name,
        "dct:description": one.purpose,
        "dpv:hasLocation": {"@id": f"loc:{one.country}"},
    }


def _process(purpose: Purpose, case: Case) -> Node:
    fields = [field for field in fields_of(case.dataset.schema) if purpose in field.purposes]
    return {
        "@id": f"metavox:{purpose}",
        "@type": "dpv:PersonalDataProcess",
        "dpv:hasPurpose": {
            "@type": "dpv:Purpose",
            "dct:description": QUESTIONS["en"][purpose],
            "skos:broader": _BROADER[purpose],
        },
        "dpv:hasLegalBasis": "eu-gdpr:A6-1-a",
        "dpv:hasNecessity": "dpv:Optional",
        "dpv:hasDataSource": "dpv:DataSubjectDataSource",
        "dpv:hasProcessing": _PROCESSING,
        "dpv:hasPersonalData": [
            {
                "@id": f"metavox:{field.name}",
                "@type": "dpv:PersonalData",
                "dct:identifier": field.attribute,
                "dct:description": field.reason,
                "skos:broader": "dpv:ObservedPersonalData",
            }
            for field in fields
        ],
        "dpv:hasRecipient": [
            {"@type": "dpv:Recipient", "dpv:hasName": name}
            for name in (BUYERS if purpose == "publish" else ("the maintainers of MetaVox",))
        ],
        "dpv:hasStorageCondition": [
            {
                "@type": "dpv:StorageDuration",
                "dct:subject": what,
                "dpv:hasLocation": where,
                "dpv:hasDuration": how_long,
            }
            for what, where, how_long in RETENTION
        ],
    }


def _measures(case: Case) -> Iterator[Node]:
    """Those that are so; what the controller has to confirm is not asserted."""
    for measure in measures_of(case):
        if measure.fact.status == "derived":
            yield {"@type": measure.term, "dct:title": measure.title, "dct:description": measure.fact.statement}


def _risk(risk: Risk, case: Case) -> Node:
    severity, likelihood = gauges(case)[risk]
    treating = {m.term for m in measures_of(case) if risk in m.against and m.fact.status == "derived"}
    return {
        "@id": f"metavox:risk-{risk}",
        "@type": "dpv:Risk",
        "dct:title": ITEMS[ITEM_OF[risk]],
        "dpv:hasSeverity": {"@type": "dpv:Severity", "rdf:value": severity, "dct:title": GAUGES[severity]},
        "dpv:hasLikelihood": {"@type": "dpv:Likelihood", "rdf:value": likelihood, "dct:title": GAUGES[likelihood]},
        "dpv:isMitigatedByMeasure": sorted(treating),
    }


def _jurisdiction(case: Case) -> Node:
    country = case.dataset.publisher.country
    if country is None:
        return {}
    return {"dpv:hasJurisdiction": ["loc:EU", f"loc:{country}"] if country in EEA else [f"loc:{country}"]}
