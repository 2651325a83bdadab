"""The assessment as CNIL's PIA software would take it, and the description in the Data Privacy Vocabulary."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from rdflib import RDF, Graph, Namespace, URIRef

from metavox_collector.dataset.gdpr import operations_of
from metavox_collector.dataset.gdpr.cnil import GAUGES, QUESTIONS
from metavox_collector.dataset.gdpr.vocabulary import NAMESPACES, TERMS, terms_in
from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import LANGUAGES, notice_hash
from metavox_privacy.schema import SCHEMA
from tests.unit.collector.gdpr.cases import EXAMPLE, example_file, settings

# rdflib's own reader of JSON-LD still uses what rdflib calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

DPV = Namespace(NAMESPACES["dpv"])
GDPR = Namespace(NAMESPACES["eu-gdpr"])


def assessment() -> Any:
    return json.loads(example_file()["gdpr/dpia.json"])


def graph(**changes: Any) -> Graph:
    files = example_file(operations=operations_of(settings(**changes)))
    return Graph().parse(data=files["gdpr/dpv.jsonld"], format="json-ld")


def imported(content: Any) -> dict[str, list[Any]]:
    """What the software's import does with a file, step by step (its ``PiaService.importData``).

    It copies named values, reads dates, gives measures new numbers, and asks of an evaluation whether its reference
    begins with ``3.1``. What it would stumble over raises here.
    """
    pia = {"name": "(IMPORT) " + content["pia"]["name"], "status": int(content["pia"]["status"])}
    moment = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
    for part in ("answers", "measures", "comments"):
        assert all(moment.fullmatch(one["created_at"]) for one in content[part])
    for evaluation in content["evaluations"]:
        assert isinstance(evaluation["reference_to"], str)
    return {
        "pia": [pia],
        "answers": [{"reference_to": one["reference_to"], "data": dict(one["data"])} for one in content["answers"]],
        "measures": [{"title": one["title"], "content": one["content"]} for one in content["measures"]],
        "comments": [(one["reference_to"], one["description"], one["for_measure"]) for one in content["comments"]],
    }


def is_valid(answer: Any) -> bool:
    """Whether the software counts a question as answered (its ``answerIsValid``)."""
    kind, data = QUESTIONS[answer["reference_to"]][1], answer["data"]
    if kind == "gauge":
        return bool(data["text"]) and data["gauge"] > 0
    return bool(data["list"]) if kind == "list" else bool(data["text"])


def test_every_question_of_the_software_is_answered_once() -> None:
    answers = imported(assessment())["answers"]
    assert [answer["reference_to"] for answer in answers] == list(QUESTIONS)
    assert len(QUESTIONS) == 36
    assert all(is_valid(answer) for answer in answers)


def test_nothing_is_evaluated_or_approved_in_a_persons_place() -> None:
    content = assessment()
    assert content["evaluations"] == []
    assert content["pia"]["status"] == 0
    assert not {"dpo_status", "dpo_opinion", "concerned_people_opinion"} & set(content["pia"])


def test_measures_that_treat_a_risk_are_those_that_are_described() -> None:
    content = imported(assessment())
    titles = {measure["title"] for measure in content["measures"]}
    for question in (324, 334, 344):
        (answer,) = (one for one in content["answers"] if one["reference_to"] == question)
        assert answer["data"]["list"]
        assert set(answer["data"]["list"]) <= titles


def test_the_readable_form_says_all_that_the_softwares_form_says() -> None:
    words = example_file()["gdpr/dpia.md"].decode().replace("\\", "")
    content = assessment()
    for answer in content["answers"]:
        data = answer["data"]
        for part in data["list"] or filter(None, data["text"].split("</p>")):
            said = html.unescape(re.sub("<[^>]+>", "", part)).replace("&", "&amp;").replace("<", "&lt;")
            assert said in words, answer["reference_to"]
        if data["gauge"] is not None:
            title = QUESTIONS[answer["reference_to"]][0]
            assert f"{answer['reference_to']} {title}: {GAUGES[data['gauge']]}" in words
    for measure in content["measures"]:
        assert f"**{measure['title']}.**" in words


def test_whatever_is_open_in_an_answer_is_a_comment_on_its_question() -> None:
    content = assessment()
    commented = {comment["reference_to"] for comment in content["comments"]}
    for answer in content["answers"]:
        whole = json.dumps(answer["data"], ensure_ascii=False)
        assert ("To confirm: " in whole or "To fill in: " in whole) == (answer["reference_to"] in commented)


def test_the_description_is_read_offline_and_uses_known_terms_alone() -> None:
    content = json.loads(example_file()["gdpr/dpv.jsonld"])
    assert isinstance(content["@context"], dict)  # and no address that somebody would have to look up
    assert terms_in(content) <= TERMS
    ours = {str(node) for triple in graph() for node in triple if isinstance(node, URIRef)}
    known = {NAMESPACES[term.partition(":")[0]] + term.partition(":")[2] for term in TERMS}
    assert {node for node in ours if node.startswith((str(DPV), str(GDPR)))} <= known


def test_every_known_term_is_used_in_some_release() -> None:
    """So that the closed list does not grow old."""
    kinds: list[dict[str, Any]] = [
        {},
        {"require_token": "tokens"},
    ]
    used: set[str] = set()
    for changes in kinds:
        used |= terms_in(json.loads(example_file(operations=operations_of(settings(**changes)))["gdpr/dpv.jsonld"]))
    # What the controller has to confirm is never asserted, so these are of measures that no release can state.
    assert used == TERMS - {"dpv:AccessControlMethod", "dpv:EncryptionAtRest", "dpv:SecurityProcedure"}


def test_the_graph_says_who_why_on_which_basis_and_of_what() -> None:
    found = graph()
    release = URIRef(f"urn:sha256:{EXAMPLE.release.sha256}")
    assert (release, RDF.type, DPV.PersonalDataProcess) in found
    controller = found.value(release, DPV.hasDataController)
    assert str(found.value(controller, DPV.hasName)) == EXAMPLE.publisher.name
    processes = list(found.objects(release, DPV.hasProcess))
    assert len(processes) == len(PURPOSES)
    for process in processes:
        assert found.value(process, DPV.hasLegalBasis) == GDPR["A6-1-a"]
        fields = list(found.objects(process, DPV.hasPersonalData))
        assert len(fields) == len(SCHEMA.dimensions) + len(SCHEMA.metrics)
        assert list(found.objects(process, DPV.hasRecipient))
    stated = found.objects(release, DPV.hasTechnicalOrganisationalMeasure)
    measures = {found.value(one, RDF.type) for one in stated}
    assert DPV.DifferentialPrivacy in measures
    assert DPV.EncryptionAtRest not in measures  # the controller's to confirm
    hashes = {str(one) for one in found.objects(None, URIRef("urn:x-metavox:sha256"))}
    assert {notice_hash(SCHEMA, language) for language in LANGUAGES} <= hashes


@pytest.mark.parametrize(
    ("changes", "is_encrypted"),
    [({}, True), ({"tls_cert": None, "tls_key": None, "trusted_proxies": ("10.0.0.1",)}, False)],
)
def test_what_is_to_be_confirmed_is_not_asserted(changes: dict[str, Any], *, is_encrypted: bool) -> None:
    assert ((None, RDF.type, DPV.EncryptionInTransfer) in graph(**changes)) is is_encrypted


def test_a_release_is_not_called_anonymous_data() -> None:
    """Whether it is that in law is an open question."""
    found = graph()
    outcome = found.value(URIRef(f"urn:sha256:{EXAMPLE.release.sha256}"), DPV.hasOutcome)
    assert (outcome, RDF.type, DPV.DerivedData) in found
    assert "dpv:AnonymisedData" not in TERMS
