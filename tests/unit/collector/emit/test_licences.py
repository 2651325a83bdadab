"""The licences: one is word for word that of its authors, the other says the same to a lawyer and to a machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pyshacl import validate
from rdflib import DCTERMS, RDF, SKOS, Graph, Literal, URIRef
from rdflib.namespace import FOAF, ODRL2

from metavox_collector.dataset.agreement import OWN_ACTIONS, SECTIONS, clauses
from metavox_collector.dataset.checks import licences as check
from metavox_collector.dataset.emit import dictionary, licences
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, EXPRESSION
from metavox_collector.dataset.model import Dataset
from metavox_collector.errors import NotAllowed
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.offers import BASE, graph_of, redrawn
from tests.unit.collector.emit.packs import Pack, replaced

ODRL = "licences/odrl.ttl"
SHAPES = Graph().parse(Path(__file__).parent / "shapes" / "odrl-2.2.ttl")


def node(fragment: str) -> URIRef:
    return URIRef(f"{BASE}{ODRL}#{fragment}")


@pytest.fixture(scope="module")
def offer(dataset: Dataset) -> Pack:
    return {**licences.emit(dataset), **dictionary.emit(dataset)}


@pytest.fixture(scope="module")
def graph(offer: Pack) -> Graph:
    return graph_of(offer, ODRL)


def conforms(graph: Graph) -> bool:
    found, _, _ = validate(graph, shacl_graph=SHAPES)
    return bool(found)


def test_the_community_licence_is_word_for_word_that_of_the_spdx_list(offer: Pack) -> None:
    text = offer[COMMUNITY.path].decode("ascii")
    assert text.startswith("Community Data License Agreement - Permissive - Version 2.0\n\nThis is the Community")
    assert len(re.findall(r"^\d\.\d\. ", text, re.MULTILINE)) == 9
    assert hashlib.sha256(" ".join(text.split()).encode()).hexdigest() == check.WORDS


def test_both_licences_are_offered_and_either_is_enough() -> None:
    assert EXPRESSION == "CDLA-Permissive-2.0 OR LicenseRef-MetaVox-Commercial-1.0"


def test_what_was_emitted_conforms_and_passes(offer: Pack, graph: Graph) -> None:
    assert conforms(graph)
    assert check.validate(offer) == []


def test_clauses_are_numbered_as_they_stand() -> None:
    numbers = [clause.number for clause in clauses()]
    expected = [f"{n}.{m}" for n, section in enumerate(SECTIONS, 1) for m, _ in enumerate(section.clauses, 1)]
    assert numbers == expected
    assert len(numbers) >= 30


def test_every_clause_with_a_rule_has_it_in_the_policy_and_every_rule_its_clause(graph: Graph) -> None:
    kinds = (ODRL2.permission, ODRL2.prohibition, ODRL2.obligation)
    rules = {rule for kind in kinds for rule in graph.objects(node("commercial"), kind)}
    assert rules == {node(f"clause-{clause.number}") for clause in clauses() if clause.rule}
    texts = {str(text) for text in graph.objects(predicate=DCTERMS.description)}
    assert {clause.text for clause in clauses()} <= texts


def test_own_actions_are_defined_and_used(graph: Graph) -> None:
    used = {str(each).removeprefix(f"{BASE}{ODRL}#") for each in graph.objects(predicate=ODRL2.action)}
    assert set(OWN_ACTIONS) == {each for each in used if not each.startswith("http")}


def test_a_lawyer_finds_the_parties_the_blanks_and_the_release(offer: Pack, dataset: Dataset) -> None:
    text = offer[COMMERCIAL.path].decode()
    for words in (dataset.publisher.name, dataset.publisher.address, dataset.statement.release, "[amount and"):
        assert words in text
    for heading in ("Recall", "Records and audit", "Attribution", "Liability", "Term"):
        assert re.search(rf"^## \d+\. {heading}$", text, re.MULTILINE)


def test_the_same_dataset_gives_the_same_bytes(dataset: Dataset, offer: Pack) -> None:
    again = licences.emit(dataset)
    assert again == {path: offer[path] for path in again}
    assert len(again) == 3


def test_a_release_for_the_maintainers_is_under_no_licence() -> None:
    with pytest.raises(NotAllowed, match="only a release for 'publish'"):
        licences.emit(example_dataset(purpose="improve", cells=0))


REQUIRED = [
    *(("commercial", each) for each in (ODRL2.uid, ODRL2.profile, ODRL2.assigner, ODRL2.target)),
    *(("clause-3.1", each) for each in (ODRL2.action, ODRL2.target, RDF.type)),
    *(("clause-4.1-event", each) for each in (ODRL2.leftOperand, ODRL2.operator, ODRL2.rightOperand)),
    *(("reidentify", each) for each in (ODRL2.includedIn, SKOS.definition)),
    ("community", ODRL2.permission),
]


@pytest.mark.parametrize(("subject", "predicate"), REQUIRED, ids=lambda each: str(each).rsplit("/", 1)[-1])
def test_without_a_part_of_the_model_it_conforms_no_more(graph: Graph, subject: str, predicate: URIRef) -> None:
    poorer = Graph() + graph
    assert (node(subject), predicate, None) in poorer
    poorer.remove((node(subject), predicate, None))
    assert not conforms(poorer)


def test_an_unknown_action_or_operator_conforms_to_nothing(graph: Graph) -> None:
    assert not conforms(
        (Graph() + graph).set((node("clause-3.1"), ODRL2.action, URIRef("http://www.w3.org/ns/odrl/2/useNicely")))
    )
    assert not conforms(
        (Graph() + graph).set(
            (node("clause-4.1-delayPeriod"), ODRL2.operator, URIRef("http://www.w3.org/ns/odrl/2/about"))
        )
    )


def text(path: str, old: str, new: str) -> Callable[[Pack], Pack]:
    return lambda pack: replaced(pack, path, old, new)


def drop(subject: str, predicate: URIRef, value: URIRef | None = None) -> Callable[[Pack], Pack]:
    return lambda pack: redrawn(pack, ODRL, lambda graph: graph.remove((node(subject), predicate, value)))


def put(subject: str, predicate: URIRef, value: URIRef | Literal) -> Callable[[Pack], Pack]:
    return lambda pack: redrawn(pack, ODRL, lambda graph: graph.set((node(subject), predicate, value)))


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "another word": (text(COMMUNITY.path, "use, modify, and share", "use and share"), "not the words of CDLA"),
    "no community licence": (
        lambda p: {k: v for k, v in p.items() if k != COMMUNITY.path},
        f"{COMMUNITY.path}: missing",
    ),
    "no agreement": (lambda p: {k: v for k, v in p.items() if k != COMMERCIAL.path}, f"{COMMERCIAL.path}: missing"),
    "no policy": (lambda p: {k: v for k, v in p.items() if k != ODRL}, f"{ODRL}: missing"),
    "no Turtle": (lambda p: {**p, ODRL: b"<#a> <#b>"}, f"{ODRL}: no Turtle"),
    "a clause struck": (
        text(COMMERCIAL.path, "\n3.1. ", "\n"),
        "clause 3.1 of licences/odrl.ttl is not in the text",
    ),
    "a clause added": (
        text(COMMERCIAL.path, "\n## 4. ", "\n3.9. All is allowed.\n\n## 4. "),
        "clause 3.9 is not in",
    ),
    "a clause reworded": (text(COMMERCIAL.path, "must not re-identify", "may re-identify"), "clause 3.1 reads"),
    "a term changed": (
        text(COMMERCIAL.path, "within 14 days of the Publisher's", "within 99 days of the"),
        "4.1 reads",
    ),
    "another dataset": (text(COMMERCIAL.path, "`metavox-2026-W47", "`metavox-2026-W46"), "not name the dataset"),
    "another publisher": (put("publisher", FOAF.name, Literal("Mallory")), "its publisher is not that"),
    "no rule": (drop("commercial", ODRL2.prohibition, node("clause-3.1")), "clause 3.1 has 0 rules"),
    "no re-identification rule": (drop("commercial", ODRL2.prohibition), "does not prohibit re-identification"),
    "no recall": (drop("clause-4.1", ODRL2.constraint), "does not oblige to delete"),
    "another event": (put("clause-4.1-event", ODRL2.rightOperand, Literal("never")), "does not oblige to delete"),
    "no action": (drop("clause-9.1", ODRL2.action), "#clause-9.1 has no action"),
    "an action of nobody's": (drop("reidentify", SKOS.definition), "#clause-3.1 has an action that nothing"),
    "no target": (drop("clause-2.1", ODRL2.target), "#clause-2.1 has no target"),
    "a permission in place of a prohibition": (put("clause-3.2", RDF.type, ODRL2.Permission), "not of its kind"),
    "half a constraint": (drop("clause-6.2-delayPeriod", ODRL2.operator), "a constraint without operator"),
    "no assigner": (drop("community", ODRL2.assigner), "#community has no assigner"),
    "a prohibition that the licence lacks": (
        put("community", ODRL2.prohibition, node("clause-3.1")),
        "#community prohibits what CDLA-Permissive-2.0 does not",
    ),
    "the text left behind": (drop("community-share", ODRL2.duty), "does not ask that the text"),
    "no offer": (drop("community", RDF.type, ODRL2.Offer), "no offer #community"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_found_and_named(offer: Pack, name: str) -> None:
    change, expected = BROKEN[name]
    problems = check.validate(change(offer))
    assert any(expected in problem for problem in problems), problems
