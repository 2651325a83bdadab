"""The receipt: it says what the standard wants, reads back, and is nothing at all once it was touched."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyshacl import validate
from rdflib import DCTERMS, RDF, Graph, Literal, Namespace

from metavox_privacy.consent import ASK_AGAIN_AFTER, DEPLOYMENT_LASTS, Answer, Unreadable
from metavox_privacy.declaration import declaration, terms
from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import LANGUAGES, notice, notice_hash
from metavox_privacy.receipt import LONGEST_RECEIPT, agreed_terms, format_receipt, parse_receipt, understand
from metavox_privacy.receipt_graph import BUYERS
from metavox_privacy.schema import SCHEMA

# rdflib's own reader of JSON-LD still makes the kind of graph that rdflib has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

NOW = datetime(2026, 11, 16, 12, 30, 15, 123456, tzinfo=timezone.utc)
YES = Answer(frozenset(PURPOSES), NOW, notice_hash(SCHEMA), SCHEMA.version, collector="https://collector.example")
NO = replace(YES, purposes=frozenset())
LATER = replace(NO, ask_again_after=NOW + ASK_AGAIN_AFTER)
WITHDRAWN = NO.succeeding(YES)
DEPLOYMENT = replace(YES, scope="deployment", expires_at=NOW + DEPLOYMENT_LASTS)
ITALIAN = replace(YES, language="it", notice=notice_hash(SCHEMA, "it"), collector=None)
KINDS = {"yes": YES, "no": NO, "later": LATER, "withdrawn": WITHDRAWN, "deployment": DEPLOYMENT, "italian": ITALIAN}

DPV = Namespace("https://w3id.org/dpv#")
SHAPE = Graph().parse(Path(__file__).parent / "shapes" / "receipt-eu-gdpr.ttl")
SMALL = replace(SCHEMA, dimensions=SCHEMA.dimensions[:1], metrics=SCHEMA.metrics[:1], tables=())
SMALL_YES = replace(YES, notice=notice_hash(SMALL))


def graph_of(document: dict[str, Any]) -> Graph:
    return Graph().parse(data=json.dumps(document), format="json-ld")


def conforms(document: dict[str, Any]) -> bool:
    found, _, report = validate(graph_of(document), shacl_graph=SHAPE)
    assert isinstance(report, str)
    return bool(found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_receipt_conforms_to_the_shape_of_the_standard_and_the_gdpr(kind: str):
    document = json.loads(format_receipt(KINDS[kind]))

    assert document["dct:conformsTo"] == "https://w3id.org/dpv/schema/dpv-27560#receipt-eu-gdpr"
    assert conforms(document)


RECORD = ("dpv:hasRecordOfActivity", 1)
PROCESS = (*RECORD, "dpv:hasProcess")
EVENT = (*RECORD, "dpv:hasConsentStatus")
MANDATORY: list[tuple[str | int, ...]] = [
    *((name,) for name in ("@type", "dct:identifier", "dpv:hasIdentifier", "dct:conformsTo", "dct:created")),
    *(
        (name,)
        for name in ("dpv:hasDataSubject", "dpv:hasNotice", "dpv:hasPersonalData", "dpv:hasRecordOfActivity")
    ),
    *(("dpv:hasEntity", 0), ("dpv:hasEntity", 1)),
    *(("dpv:hasEntity", at, name) for at in (0, 1) for name in ("@type", "dpv:hasName", "dpv:hasIdentifier")),
    *(("dpv:hasEntity", at, name) for at in (0, 1) for name in ("schema:contactPoint", "schema:address")),
    *(("dpv:hasNotice", name) for name in ("@type", "dct:language", "dct:description")),
    ("dpv:hasPersonalData", 0, "skos:broader"),
    *((*RECORD, name) for name in ("@type", "dct:identifier", "dct:conformsTo", "dpv:hasDataSubject")),
    *((*RECORD, name) for name in ("dpv:hasNotice", "dpv:hasProcess", "dpv:hasConsentStatus")),
    *((*PROCESS, name) for name in ("@type", "dpv:hasPurpose", "dpv:hasLegalBasis", "dpv:hasPersonalData")),
    *((*PROCESS, name) for name in ("dpv:hasNecessity", "dpv:hasDataSource", "dpv:hasProcessing")),
    *((*PROCESS, name) for name in ("dpv:hasStorageCondition", "dpv:hasDataController", "dpv:hasRecipient")),
    *((*PROCESS, name) for name in ("dpv:hasConsentControl", "dpv:hasJurisdiction", "dpv:hasRight")),
    (*PROCESS, "dpv:hasAuthority"),
    *((*PROCESS, "dpv:hasPurpose", name) for name in ("@type", "skos:broader", "dct:description")),
    *((*PROCESS, "dpv:hasStorageCondition", 0, name) for name in ("dpv:hasLocation", "dpv:hasDuration")),
    (*PROCESS, "dpv:hasRecipient", 1, "dpv:hasName"),
    (*PROCESS, "dpv:hasConsentControl", "dpv:isExercisedAt"),
    *((*PROCESS, "dpv:hasRight", 0, name) for name in ("dct:title", "dpv:isExercisedAt")),
    *((*EVENT, name) for name in ("@type", "dpv:isIndicatedAtTime", "dpv:isIndicatedBy", "dpv:hasDuration")),
    (*EVENT, "dpv:hasDuration", "rdf:value"),
]


@pytest.mark.parametrize("path", MANDATORY, ids=lambda path: "/".join(map(str, path)))
def test_a_receipt_without_a_mandatory_field_conforms_to_nothing(path: tuple[str | int, ...]):
    document = json.loads(format_receipt(SMALL_YES, SMALL))
    if path == ("@type",):
        assert graph_of(document).value(predicate=RDF.type, object=DPV.ConsentReceipt) is not None
    inner: Any = document
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    if path == ("@type",):  # without its type no shape looks at it, so it is not a receipt at all
        assert graph_of(document).value(predicate=RDF.type, object=DPV.ConsentReceipt) is None
    else:
        assert not conforms(document)
    assert parse_receipt(json.dumps(document)) is None


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (YES, {"improve": "ConsentGiven", "publish": "ConsentGiven"}),
        (NO, {"improve": "ConsentRefused", "publish": "ConsentRefused"}),
        (LATER, {"improve": "ConsentRequestDeferred", "publish": "ConsentRequestDeferred"}),
        (WITHDRAWN, {"improve": "ConsentWithdrawn", "publish": "ConsentWithdrawn"}),
        (replace(YES, purposes=frozenset({"publish"})), {"improve": "ConsentRefused", "publish": "ConsentGiven"}),
        (
            replace(YES, purposes=frozenset({"improve"})).succeeding(YES),
            {"improve": "ConsentGiven", "publish": "ConsentWithdrawn"},
        ),
    ],
    ids=["yes", "no", "not now", "withdrawn", "publish alone", "publish taken back"],
)
def test_each_purpose_is_a_record_with_a_status_of_its_own(answer: Answer, status: dict[str, str]):
    graph = graph_of(json.loads(format_receipt(answer)))
    found = {
        str(graph.value(graph.value(graph.value(record, DPV.hasProcess), DPV.hasPurpose), DCTERMS.identifier)): {
            str(kind).removeprefix(DPV)
            for kind in graph.objects(graph.value(record, DPV.hasConsentStatus), RDF.type)
        }
        for record in graph.subjects(RDF.type, DPV.ConsentRecord)
    }

    assert {purpose: kinds - {"ExpressedConsent"} for purpose, kinds in found.items()} == {
        purpose: {kind} for purpose, kind in status.items()
    }


def test_what_was_taken_back_stays_taken_back_until_it_is_granted_again():
    assert NO.succeeding(None).withdrawn == frozenset()
    assert NO.succeeding(NO).withdrawn == frozenset()
    assert NO.succeeding(WITHDRAWN).withdrawn == frozenset(PURPOSES)
    assert YES.succeeding(WITHDRAWN).withdrawn == frozenset()


def test_datasets_are_sold_to_the_kinds_of_buyers_that_the_notice_names():
    document = json.loads(format_receipt(YES))
    improve, publish = (
        record["dpv:hasProcess"]["dpv:hasRecipient"] for record in document["dpv:hasRecordOfActivity"]
    )

    assert improve == [{"@id": "_:controller"}]
    assert [one.get("dpv:hasName") for one in publish[1:]] == list(BUYERS)
    assert all(kind in notice(SCHEMA) for kind in BUYERS)


def test_the_receipt_names_the_collector_and_nobody_else():
    text = format_receipt(YES)
    controller = json.loads(text)["dpv:hasEntity"][0]

    assert controller["dpv:hasIdentifier"] == "https://collector.example"
    assert "not named when this was answered" in format_receipt(replace(YES, collector=None))
    assert set(json.loads(text)["dpv:hasDataSubject"]) == {"@id", "@type", "dct:description"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_receipt_holds_the_exact_words_and_the_whole_declaration(language):
    answer = replace(YES, language=language, notice=notice_hash(SCHEMA, language))
    text = format_receipt(answer)
    document = json.loads(text)

    assert document["dpv:hasNotice"]["dct:description"] == notice(SCHEMA, language)
    assert agreed_terms(text) == json.loads(json.dumps(terms(SCHEMA, language)))
    assert agreed_terms(text).items() >= declaration(SCHEMA).items()  # type: ignore[union-attr]
    (literal,) = graph_of(document).objects(predicate=Namespace("urn:x-metavox:")["terms"])
    assert isinstance(literal, Literal)
    assert json.loads(str(literal)) == agreed_terms(text)


def test_reading_a_receipt_needs_no_network():
    context = json.loads(format_receipt(YES))["@context"]

    assert isinstance(context, dict)
    assert not {"@import", "@vocab", "@base"} & set(context)


moments = st.datetimes(
    min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(timezone.utc)
)
answers = st.builds(
    lambda language, **facts: Answer(language=language, notice=notice_hash(SCHEMA, language), **facts),
    language=st.sampled_from(LANGUAGES),
    purposes=st.frozensets(st.sampled_from(PURPOSES)),
    answered_at=moments,
    schema_version=st.just(SCHEMA.version),
    expires_at=st.none() | moments,
    collector=st.none() | st.just("https://collector.example:8443/a"),
)


@given(answers, st.booleans())
def test_an_answer_survives_the_file(answer: Answer, later: bool):
    if later and not answer.purposes:
        answer = replace(answer, ask_again_after=answer.answered_at + ASK_AGAIN_AFTER)

    assert parse_receipt(format_receipt(answer)) == answer
    assert understand(format_receipt(answer)) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"notice": "ab" * 32},
        {"notice": notice_hash(SCHEMA, "it")},
        {"schema_version": SCHEMA.version + 1},
        {"answered_at": datetime(2026, 11, 16)},
        {"scope": "deployment"},
        {"scope": "deployment", "expires_at": NOW + DEPLOYMENT_LASTS + timedelta(seconds=1)},
        {"collector": "https://a\nb"},
        {"collector": ""},
    ],
    ids=str,
)
def test_an_answer_that_cannot_be_true_is_not_written_down(change: dict[str, Any]):
    with pytest.raises(ValueError, match="cannot be recorded"):
        format_receipt(replace(YES, **change))


TEXT = format_receipt(SMALL_YES, SMALL)


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="utf-8"))
def test_a_receipt_with_any_other_letter_in_it_is_not_understood(at: int, letter: str):
    changed = TEXT[:at] + letter + TEXT[at + 1 :]
    same = json.loads(TEXT)
    try:
        is_same = json.loads(changed) == same
    except ValueError:
        is_same = False

    assert parse_receipt(TEXT) == SMALL_YES
    assert is_same or parse_receipt(changed) is None


@pytest.mark.parametrize("key", json.loads(TEXT))
def test_a_receipt_with_a_fact_missing_is_not_understood(key: str):
    document = json.loads(TEXT)
    del document[key]

    assert parse_receipt(json.dumps(document)) is None


def test_a_receipt_may_be_laid_out_in_another_way():
    assert parse_receipt(json.dumps(json.loads(TEXT))) == SMALL_YES
    assert parse_receipt(json.dumps(json.loads(TEXT), indent=4, sort_keys=True)) == SMALL_YES


def named_anew(document: dict[str, Any]) -> str:
    """A forged receipt: changed, and its identifier with it."""
    from metavox_privacy.receipt import _ID, _identifier

    content = {name: value for name, value in document.items() if name not in _ID}
    return json.dumps({**dict.fromkeys(_ID, _identifier(content)), **content})


RECORDS = json.loads(TEXT)["dpv:hasRecordOfActivity"]
FORGED: list[tuple[tuple[str | int, ...], Any]] = [
    (("dct:created",), "2026-11-16T00:00:00"),
    (("dct:created",), "yesterday"),
    (("dct:created",), 5),
    (("dct:created",), None),
    (("metavox:schemaVersion",), "1"),
    (("metavox:schemaVersion",), True),
    (("metavox:scope",), "everybody"),
    (("metavox:scope",), "deployment"),
    (("metavox:scope",), ["installation"]),
    (("metavox:collector",), 5),
    (("metavox:collector",), "a\x1b[2J"),
    (("metavox:expiresAt",), "some day"),
    (("metavox:askAgainAfter",), "2026-11-16"),
    (("dpv:hasNotice", "dct:language"), "tlh"),
    (("dpv:hasNotice", "metavox:sha256"), None),
    (("dpv:hasNotice",), []),
    (("dpv:hasRecordOfActivity",), []),
    (("dpv:hasRecordOfActivity",), {}),
    (("dpv:hasRecordOfActivity",), None),
    ((*EVENT, "@type"), "dpv:ConsentGiven"),
    ((*EVENT, "@type"), ["dpv:ConsentGivenOfCourse"]),
    ((*EVENT, "@type"), [["dpv:ConsentGiven"]]),
    ((*EVENT, "@type"), []),
    ((*EVENT, "@type"), ["dpv:ConsentGiven", "dpv:ConsentWithdrawn"]),
    (("dpv:hasRecordOfActivity",), [*RECORDS, {**RECORDS[0], "dct:title": "once more"}]),
    (("metavox:terms",), None),
    (("metavox:terms",), []),
    ((*PROCESS, "dpv:hasPurpose", "dct:identifier"), "sell my soul"),
    ((*PROCESS, "dpv:hasPurpose", "dct:identifier"), "improve"),
    ((*PROCESS, "dpv:hasPurpose", "dct:identifier"), ["publish"]),
]


@pytest.mark.parametrize(("path", "value"), FORGED, ids=lambda part: str(part)[:60])
def test_even_a_forged_receipt_that_says_anything_odd_is_not_understood(path: tuple[str | int, ...], value: Any):
    document = json.loads(TEXT)
    assert parse_receipt(named_anew(copy.deepcopy(document))) == SMALL_YES
    inner: Any = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    assert parse_receipt(named_anew(document)) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "null", "yes", "\x00", "{", '{"@id": 1}', '{"@id": {}}', "[" * 100_000, "9" * 5000),
        TEXT.replace('"@type"', '"@id": "twice", "@type"', 1),
        TEXT + " " * LONGEST_RECEIPT,
        TEXT[:-3],
        TEXT * 2,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_other_texts_are_no_receipts(text: str):
    assert parse_receipt(text) is None
    assert agreed_terms(text) is None
    assert understand(text) is Unreadable.FILE


def test_an_absent_file_and_an_unreadable_one_stay_what_they_are():
    assert understand(None) is None
    assert understand(Unreadable.FILE) is Unreadable.FILE


def test_a_receipt_passes_through_any_pipe_whatever_its_encoding():
    assert "ù" in notice(SCHEMA, "it")
    assert all(format_receipt(answer).isascii() for answer in KINDS.values())


def test_a_receipt_is_far_from_the_longest_that_is_read():
    assert max(len(format_receipt(answer)) for answer in KINDS.values()) < LONGEST_RECEIPT / 4
