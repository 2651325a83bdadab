"""The DCAT-AP description conforms, says what the files are, and is found wrong wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyshacl import validate
from rdflib import DCTERMS, FOAF, RDF, RDFS, BNode, Graph, Literal, URIRef
from rdflib.namespace import ODRL2, PROV

from metavox_collector.dataset.checks import dcat as check
from metavox_collector.dataset.emit import csv, dcat, parquet
from metavox_collector.dataset.emit.dcat import DCAT, DCATAP, DPV, EU_GDPR, SPDX, VCARD
from metavox_collector.dataset.model import Dataset
from metavox_collector.errors import NotAllowed
from tests.unit.collector.emit.datasets import PUBLISHER, example_dataset
from tests.unit.collector.emit.offers import BASE, graph_of, offer_of, redrawn
from tests.unit.collector.emit.packs import Pack

SHAPES = {name: Graph().parse(Path(__file__).parent / "shapes" / f"{name}.ttl") for name in ("dcat-ap-3", "dpv-2")}
PARQUET, CSV = "data/performance.parquet", "csv/performance.csv"


def node(fragment: str) -> URIRef:
    return URIRef(f"{BASE}dcat.ttl#{fragment}")


@pytest.fixture(scope="module")
def offer(dataset: Dataset) -> Pack:
    return offer_of(dataset)


@pytest.fixture(scope="module")
def graph(offer: Pack) -> Graph:
    return graph_of(offer, "dcat.ttl")


def conforms(graph: Graph, shapes: str) -> bool:
    found, _, _ = validate(graph, shacl_graph=SHAPES[shapes])
    return bool(found)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(
    "kind", [{}, {"scope": "coarse"}, {"weeks": 4}, {"synthetic": False}, {"cells": 0}], ids=str
)
def test_every_kind_of_dataset_conforms_and_passes(kind: dict[str, object], shapes: str) -> None:
    pack = offer_of(example_dataset(**kind))  # type: ignore[arg-type]
    assert conforms(graph_of(pack, "dcat.ttl"), shapes)
    assert check.validate(pack) == []


REQUIRED = [
    *(("catalogue", each) for each in (DCTERMS.title, DCTERMS.description, DCTERMS.publisher, DCAT.dataset)),
    *(("series", each) for each in (DCTERMS.title, DCTERMS.description, DCTERMS.accrualPeriodicity)),
    *(("dataset", each) for each in (DCTERMS.title, DCTERMS.description, DCTERMS.publisher, DCTERMS.spatial)),
    *(("dataset", each) for each in (DCTERMS.temporal, DCTERMS.accessRights, DCTERMS.accrualPeriodicity)),
    *(("dataset", each) for each in (DCTERMS.identifier, DCTERMS.issued, DCTERMS.language, DCTERMS.provenance)),
    *(("dataset", each) for each in (DCAT.contactPoint, DCAT.keyword, DCAT.theme, DCAT.version, DCAT.inSeries)),
    *(("dataset", each) for each in (DCAT.distribution, DCAT.temporalResolution, ODRL2.hasPolicy)),
    *((PARQUET, each) for each in (DCAT.accessURL, DCAT.downloadURL, DCAT.mediaType, DCAT.byteSize)),
    *((PARQUET, each) for each in (DCTERMS.license, DCTERMS.rights, DCTERMS["format"], DCTERMS.description)),
    *((PARQUET, each) for each in (SPDX.checksum, DCATAP.availability, DCTERMS.title)),
    *((f"{PARQUET}-checksum", each) for each in (SPDX.algorithm, SPDX.checksumValue)),
    *(("period", each) for each in (DCAT.startDate, DCAT.endDate)),
    *(("contact", each) for each in (VCARD.fn, VCARD.hasEmail)),
    ("publisher", FOAF.name),
    ("rights", RDFS.label),
    ("provenance", RDFS.label),
]


@pytest.mark.parametrize(("subject", "predicate"), REQUIRED, ids=lambda each: str(each).rsplit("/", 1)[-1])
def test_without_a_required_property_it_conforms_no_more(graph: Graph, subject: str, predicate: URIRef) -> None:
    poorer = Graph() + graph
    assert (node(subject), predicate, None) in poorer
    poorer.remove((node(subject), predicate, None))
    assert not conforms(poorer, "dcat-ap-3")


WRONG = {
    "two publishers": (node("dataset"), DCTERMS.publisher, node("catalogue")),
    "two licences": (node(PARQUET), DCTERMS.license, node("dataset")),
    "two sizes": (node(PARQUET), DCAT.byteSize, Literal(7)),
    "two hashes": (node(PARQUET), SPDX.checksum, node(f"{CSV}-checksum")),
    "a frequency of nobody's": (node("series"), DCTERMS.accrualPeriodicity, node("period")),
    "a theme in words": (node("dataset"), DCAT.theme, Literal("technology")),
    "an author that is no agent": (node("dataset"), DCTERMS.creator, Literal("Jane")),
}


@pytest.mark.parametrize("name", WRONG)
def test_with_a_wrong_value_it_conforms_no_more(graph: Graph, name: str) -> None:
    assert not conforms((Graph() + graph).add(WRONG[name]), "dcat-ap-3")


DPV_REQUIRED = [
    *(("close", each) for each in (DPV.hasPurpose, DPV.hasLegalBasis, DPV.hasProcessing, DPV.hasRisk, DPV.hasData)),
    *(("close", each) for each in (DPV.hasDataController, DPV.hasTechnicalMeasure)),
    ("re-identification", DPV.isMitigatedByMeasure),
    ("differential-privacy", DCTERMS.description),
    ("differential-privacy", RDF.type),
]


@pytest.mark.parametrize(("subject", "predicate"), DPV_REQUIRED, ids=lambda each: str(each).rsplit("#", 1)[-1])
def test_without_what_protects_people_it_conforms_no_more(graph: Graph, subject: str, predicate: URIRef) -> None:
    poorer = Graph() + graph
    assert (node(subject), predicate, None) in poorer
    poorer.remove((node(subject), predicate, None))
    assert not conforms(poorer, "dpv-2")


def drop(subject: str, predicate: URIRef) -> Callable[[Pack], Pack]:
    return lambda pack: redrawn(pack, "dcat.ttl", lambda graph: graph.remove((node(subject), predicate, None)))


def put(subject: str, predicate: URIRef, value: URIRef | Literal) -> Callable[[Pack], Pack]:
    return lambda pack: redrawn(pack, "dcat.ttl", lambda graph: graph.set((node(subject), predicate, value)))


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "no file": (lambda p: {k: v for k, v in p.items() if k != "dcat.ttl"}, "dcat.ttl: missing"),
    "no Turtle": (lambda p: {**p, "dcat.ttl": p["dcat.ttl"][:-30]}, "dcat.ttl: no Turtle"),
    "no UTF-8": (lambda p: {**p, "dcat.ttl": b"\xff" + p["dcat.ttl"]}, "dcat.ttl: not UTF-8"),
    "no title": (drop("dataset", DCTERMS.title), "the dataset has no title"),
    "no licence": (drop(PARQUET, DCTERMS.license), f"{PARQUET} is not under"),
    "another licence": (put(CSV, DCTERMS.license, URIRef("https://example.org/free")), f"{CSV} is not under"),
    "a file changed": (lambda p: {**p, PARQUET: p[PARQUET][:-1] + b"x"}, f"{PARQUET} has another SHA-256"),
    "a file longer": (lambda p: {**p, CSV: p[CSV] + b"x"}, f"{CSV} has {{}} bytes"),
    "a file too many": (lambda p: {**p, "csv/more.csv": b""}, "csv/more.csv has 0 distributions"),
    "a file missing": (lambda p: {k: v for k, v in p.items() if k != CSV}, f"{CSV} is described and not in"),
    "no hash": (drop(PARQUET, SPDX.checksum), f"{PARQUET} has no SHA-256"),
    "a distribution of nobody's": (
        lambda p: redrawn(p, "dcat.ttl", lambda g: g.remove((node("dataset"), DCAT.distribution, node(PARQUET)))),
        "not every distribution is the dataset's",
    ),
    "another version": (put("dataset", DCAT.version, Literal("9.9.9")), "version is '9.9.9'"),
    "another release": (put("dataset", DCTERMS.identifier, Literal("x@sha256:0")), "identifier is 'x@sha256:0'"),
    "another frequency": (put("dataset", DCTERMS.accrualPeriodicity, dcat.OTHER), "frequency is"),
    "another publisher": (put("publisher", FOAF.name, Literal("Mallory")), "the publisher's name is not"),
    "another address": (put("contact", VCARD.hasEmail, URIRef("mailto:m@example.org")), "the contact's address"),
    "no end": (drop("period", DCAT.endDate), "the period has no end"),
    "no period": (drop("dataset", DCTERMS.temporal), "the dataset has no period"),
    "no policy": (drop("dataset", ODRL2.hasPolicy), "the dataset's policies"),
    "not said to be synthetic": (put("dataset", DCTERMS.description, Literal("Fast.")), "are synthetic"),
    "no process": (drop("dataset", PROV.wasGeneratedBy), "by which process"),
    "no consent": (put("close", DPV.hasLegalBasis, EU_GDPR["A6-1-f"]), "names no consent"),
    "no noise": (drop("differential-privacy", RDF.type), "differential privacy"),
    "no risk": (drop("close", DPV.hasRisk), "names no risk"),
    "an empty catalogue": (drop("catalogue", DCAT.dataset), "the catalogue does not hold"),
    "no availability": (drop(CSV, DCATAP.availability), f"{CSV} has no availability"),
    "two datasets": (
        lambda p: redrawn(p, "dcat.ttl", lambda g: g.add((node("other"), RDF.type, DCAT.Dataset))),
        "exactly one dataset",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found_and_named(offer: Pack, name: str) -> None:
    change, expected = BROKEN[name]
    broken = change(offer)
    problems = check.validate(broken)
    expected = expected.replace("{}", str(len(broken.get(CSV, b""))))
    assert any(expected in problem for problem in problems), problems


def test_the_same_dataset_gives_the_same_bytes_and_no_node_without_a_name(dataset: Dataset, offer: Pack) -> None:
    data = {**parquet.emit(dataset), **csv.emit(dataset)}
    assert dcat.emit(dataset, data)["dcat.ttl"] == offer["dcat.ttl"]
    nodes = {part for triple in graph_of(offer, "dcat.ttl") for part in triple}
    assert not [each for each in nodes if isinstance(each, BNode)]


def test_its_addresses_hold_wherever_the_pack_is_put(offer: Pack) -> None:
    text = offer["dcat.ttl"].decode()
    assert "file:" not in text
    assert BASE not in text
    urls = set(graph_of(offer, "dcat.ttl").objects(predicate=DCAT.downloadURL))
    assert {str(url).removeprefix(BASE) for url in urls} == {k for k in offer if k.startswith(("data/", "csv/"))}


def test_four_weeks_are_said_in_the_eus_words_and_exactly(dataset: Dataset) -> None:
    four = graph_of(offer_of(example_dataset(weeks=4)), "dcat.ttl")
    assert four.value(node("dataset"), DCTERMS.accrualPeriodicity) == dcat.OTHER
    assert str(four.value(node("dataset"), DCAT.temporalResolution)) == "P28D"
    assert str(four.value(node("period"), DCAT.startDate)) == "2026-10-26"
    assert str(four.value(node("period"), DCAT.endDate)) == "2026-11-22"


def test_a_publisher_without_a_website_is_described_without_one(dataset: Dataset, offer: Pack) -> None:
    graph = graph_of(dcat.emit(replace(dataset, publisher=replace(PUBLISHER, url=None)), offer), "dcat.ttl")
    assert conforms(graph, "dcat-ap-3")
    assert graph.value(node("publisher"), FOAF.homepage) is None
    assert graph.value(node("contact"), VCARD.hasURL) is None


def test_a_release_for_the_maintainers_is_not_described_for_others() -> None:
    dataset = example_dataset(purpose="improve")
    with pytest.raises(NotAllowed, match="did not agree to its publication"):
        dcat.emit(dataset, {})


@settings(max_examples=30, deadline=None)
@given(name=st.text(min_size=1), email=st.from_regex(r"[^@ \ud800-\udfff]+@[^@ \ud800-\udfff]+", fullmatch=True))
def test_whatever_the_publisher_is_called_reads_back(dataset: Dataset, offer: Pack, name: str, email: str) -> None:
    named = replace(dataset, publisher=replace(PUBLISHER, name=name, email=email, url="https://example.org/a b>c"))
    graph = graph_of(dcat.emit(named, offer), "dcat.ttl")
    assert str(graph.value(node("publisher"), FOAF.name)) == name
    assert graph.value(node("contact"), VCARD.hasEmail) == dcat.mailto(email)
    assert graph.value(node("publisher"), FOAF.homepage) == URIRef("https://example.org/a%20b%3Ec")
