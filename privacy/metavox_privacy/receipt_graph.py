"""A receipt's content: who, what, why, for how long and with which rights, in the Data Privacy Vocabulary's terms.

Each purpose is a consent record of its own, with a status of its own. What both share (the person, the notice, the
parties, the fields) stands once, and the records refer to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from metavox_privacy.consent import Answer
from metavox_privacy.declaration import terms
from metavox_privacy.fields import PURPOSES, Dimension, Metric, Purpose
from metavox_privacy.notice import QUESTIONS, notice
from metavox_privacy.retention import KEPT_AT_COLLECTOR, KEPT_HERE
from metavox_privacy.schema import Schema

Node = dict[str, Any]

PROFILE: Final = "https://w3id.org/dpv/schema/dpv-27560#"
DECLARATION: Final = "metavox:terms"
"""Under which name a receipt holds the whole declaration, and the words."""

STATUS: Final = {
    "given": "dpv:ConsentGiven",
    "refused": "dpv:ConsentRefused",
    "deferred": "dpv:ConsentRequestDeferred",
    "withdrawn": "dpv:ConsentWithdrawn",
}
GRANTED: Final = STATUS["given"]
EXPRESSED: Final = "dpv:ExpressedConsent"

BUYERS: Final = ("hardware vendors", "cloud providers", "software companies", "researchers", "analysts")
"""The kinds of companies and people to whom datasets are sold or given."""

_AUTHORITIES: Final = "https://www.edpb.europa.eu/about-edpb/about-edpb/members_en"
_OWN: Final = "urn:x-metavox:"  # names of our own, which nobody has to look up
_IRI: Final = {"@type": "@id"}
_TIME: Final = {"@type": "xsd:dateTime"}
_CONTEXT: Final = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "loc": "https://w3id.org/dpv/loc#",
    "metavox": _OWN,
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "schema": "https://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "dct:conformsTo": _IRI,
    "dct:created": _TIME,
    "dpv:hasApplicableLaw": _IRI,
    "dpv:hasDataSource": _IRI,
    "dpv:hasJurisdiction": _IRI,
    "dpv:hasLegalBasis": _IRI,
    "dpv:hasLocation": _IRI,
    "dpv:hasNecessity": _IRI,
    "dpv:hasProcessing": _IRI,
    "dpv:isIndicatedAtTime": _TIME,
    "skos:broader": _IRI,
    DECLARATION: {"@type": "@json"},
}
_BROADER: Final[dict[Purpose, list[str]]] = {
    "improve": ["dpv:ImproveExistingProductsAndServices"],
    "publish": ["dpv:SellDataToThirdParties", "dpv:ResearchAndDevelopment"],
}
_PROCESSING: Final = ["dpv:Observe", "dpv:Anonymise", "dpv:Transmit", "dpv:Store", "dpv:Analyse", "dpv:Erase"]
_RIGHTS: Final = (
    ("A7-3", "to withdraw consent", "metavox telemetry off"),
    ("A15", "of access", "metavox telemetry export"),
    ("A17", "to erasure", "metavox telemetry off --delete"),
    ("A20", "to data portability", "metavox telemetry export"),
    ("A77", "to complain to an authority", "the authority named in this receipt"),
)


def receipt_graph(answer: Answer, schema: Schema) -> Node:
    """The JSON-LD document of an answer, without the identifier that is made of it.

    Args:
        answer: What was answered.
        schema: The list to which it was an answer.
    """
    fields: list[Dimension | Metric] = [*schema.dimensions, *schema.metrics]
    return {
        "@context": _CONTEXT,
        "@type": "dpv:ConsentReceipt",
        "dct:title": "Receipt of an answer about contributing performance statistics with MetaVox",
        "dct:conformsTo": f"{PROFILE}receipt-eu-gdpr",
        "dct:created": answer.answered_at.isoformat(),
        "metavox:scope": answer.scope,
        "metavox:schemaVersion": schema.version,
        "metavox:collector": answer.collector,
        "metavox:askAgainAfter": answer.ask_again_after and answer.ask_again_after.isoformat(),
        "metavox:expiresAt": answer.expires_at and answer.expires_at.isoformat(),
        "dpv:hasDataSubject": _person(answer),
        "dpv:hasEntity": [_controller(answer), _authority()],
        "dpv:hasNotice": _notice(answer, schema),
        "dpv:hasPersonalData": [_field(field) for field in fields],
        "dpv:hasRecordOfActivity": [_record(purpose, answer, fields) for purpose in PURPOSES],
        DECLARATION: terms(schema, answer.language),
    }


def _record(purpose: Purpose, answer: Answer, fields: Sequence[Dimension | Metric]) -> Node:
    return {
        "@id": f"_:{purpose}",
        "@type": "dpv:ConsentRecord",
        "dct:identifier": purpose,
        "dct:conformsTo": f"{PROFILE}record-eu-gdpr",
        "dpv:hasDataSubject": {"@id": "_:person"},
        "dpv:hasNotice": {"@id": "_:notice"},
        "dpv:hasProcess": _process(purpose, answer, fields),
        "dpv:hasConsentStatus": _event(purpose, answer),
    }


def _process(purpose: Purpose, answer: Answer, fields: Sequence[Dimension | Metric]) -> Node:
    sold = [{"@type": "dpv:Recipient", "dpv:hasName": kind} for kind in BUYERS] if purpose == "publish" else []
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@type": "dpv:Purpose",
            "dct:identifier": purpose,
            "dct:description": QUESTIONS[answer.language][purpose],
            "skos:broader": _BROADER[purpose],
        },
        "dpv:hasLegalBasis": "eu-gdpr:A6-1-a",
        "dpv:hasPersonalData": [{"@id": _name(field)} for field in fields if purpose in field.purposes],
        "dpv:hasNecessity": "dpv:Optional",
        "dpv:hasDataSource": "dpv:DataSubjectDataSource",
        "dpv:hasProcessing": [*_PROCESSING, *(["dpv:Disseminate"] if sold else [])],
        "dpv:hasStorageCondition": _storage(),
        "dpv:hasDataController": {"@id": "_:controller"},
        "dpv:hasRecipient": [{"@id": "_:controller"}, *sold],
        "dpv:hasConsentControl": {"@type": "dpv:WithdrawConsent", "dpv:isExercisedAt": "metavox telemetry off"},
        "dpv:hasJurisdiction": "loc:EU",
        "dpv:hasApplicableLaw": "eu-gdpr:GDPR",
        "dpv:hasRight": [_right(*right) for right in _RIGHTS],
        "dpv:hasAuthority": {"@id": "_:authority"},
    }


def _event(purpose: Purpose, answer: Answer) -> Node:
    """The answer about one purpose: what, when, by whom, how and until when."""
    if purpose in answer.purposes:
        status, end = "given", "a withdrawal, or a change of the list or of the words"
        until = answer.expires_at
    elif purpose in answer.withdrawn:
        status, end, until = "withdrawn", "another answer", None
    else:
        status = "refused" if answer.ask_again_after is None else "deferred"
        end, until = "another answer", answer.ask_again_after
    return {
        "@type": [STATUS[status], EXPRESSED] if status == "given" else [STATUS[status]],
        "dpv:isIndicatedAtTime": answer.answered_at.isoformat(),
        "dpv:isIndicatedBy": {"@id": "_:person"},
        "dpv:hasIndicationMethod": "an answer to the question about this purpose alone; none was a yes by default",
        "dpv:hasDuration": {"@type": "dpv:UntilEventDuration", "rdf:value": end}
        if until is None
        else {"@type": "dpv:UntilTimeDuration", "rdf:value": until.isoformat()},
    }


def _person(answer: Answer) -> Node:
    kind = (
        "the user of this installation" if answer.scope == "installation" else "whoever authorized this deployment"
    )
    return {
        "@id": "_:person",
        "@type": "dpv:DataSubject",
        "dct:description": f"{kind}; no name, address or identifier is recorded",
    }


def _controller(answer: Answer) -> Node:
    """Whoever runs the collector. None is built in, so the receipt can name it by its address alone."""
    site = answer.collector or "not named when this was answered"
    return {
        "@id": "_:controller",
        "@type": "dpv:DataController",
        "dpv:hasName": "Whoever runs the collector that METAVOX_COLLECTOR_URL names",
        "dpv:hasIdentifier": site,
        "schema:contactPoint": {"@type": "schema:ContactPoint", "schema:url": site},
        "schema:address": {
            "@type": "schema:PostalAddress",
            "schema:description": "as that collector's site states",
        },
    }


def _authority() -> Node:
    return {
        "@id": "_:authority",
        "@type": "dpv:DataProtectionAuthority",
        "dpv:hasName": "The data protection authority where you live or work; in Italy the Garante per la "
        "protezione dei dati personali",
        "dpv:hasIdentifier": _AUTHORITIES,
        "schema:contactPoint": {"@type": "schema:ContactPoint", "schema:url": _AUTHORITIES},
        "schema:address": {"@type": "schema:PostalAddress", "schema:description": "as that list states"},
    }


def _notice(answer: Answer, schema: Schema) -> Node:
    return {
        "@id": "_:notice",
        "@type": "dpv:ConsentNotice",
        "dct:language": answer.language,
        "dct:created": answer.answered_at.isoformat(),
        "metavox:sha256": answer.notice,
        "dct:description": notice(schema, answer.language),
    }


def _field(field: Dimension | Metric) -> Node:
    return {
        "@id": _name(field),
        "@type": "dpv:PersonalData",
        "dct:identifier": field.attribute,
        "dct:title": field.name,
        "dct:description": field.reason,
        "skos:broader": "dpv:ObservedPersonalData",
    }


def _name(field: Dimension | Metric) -> str:
    return f"_:field_{field.name}"


def _storage() -> list[Node]:
    return [
        {
            "@type": ["dpv:StorageLocation", "dpv:StorageDuration"],
            "dpv:hasLocation": "dpv:LocalLocation",
            "dpv:hasDuration": _lasting(KEPT_HERE),
            "dct:description": "after the week, to the next counted run, or until the answer is a no",
        },
        {
            "@type": ["dpv:StorageLocation", "dpv:StorageDuration", "dpv:StorageDeletion"],
            "dpv:hasLocation": "dpv:RemoteLocation",
            "dpv:hasDuration": _lasting(KEPT_AT_COLLECTOR),
            "dct:description": "at the collector, until the week is closed; then the report is destroyed",
        },
    ]


def _lasting(time: timedelta) -> Node:
    return {"@type": "dpv:TemporalDuration", "rdf:value": f"P{time.days}D"}


def _right(article: str, title: str, where: str) -> Node:
    return {
        "@type": ["dpv:DataSubjectRight", f"eu-gdpr:{article}"],
        "dct:title": f"Right {title}",
        "dpv:isExercisedAt": where,
    }
