"""The licences: the community licence verbatim, the commercial agreement as a template, and both as ODRL policies.

The policies follow the ODRL Information Model 2.2 (https://www.w3.org/TR/odrl-model/): an Agreement is made by the
parties, so what is published is an Offer. Addresses are relative to the file, as a pack may be anywhere.
"""

from __future__ import annotations

from importlib.resources import files

from rdflib import RDF, SKOS, XSD, Graph, Literal, Namespace, URIRef
from rdflib.namespace import DCTERMS, FOAF, ODRL2

from metavox_collector.dataset.agreement import OWN_ACTIONS, SECTIONS, Clause, Constraint, Rule
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, POLICY_PATH
from metavox_collector.dataset.model import Dataset
from metavox_collector.errors import NotAllowed

CC = Namespace("http://creativecommons.org/ns#")
DATASET = URIRef("../dcat.ttl#dataset")
RESULTS = URIRef("#results")
PROFILE, PUBLISHER, CUSTOMER = URIRef("#profile"), URIRef("#publisher"), URIRef("#customer")
COMMUNITY_POLICY, COMMERCIAL_POLICY = URIRef("#community"), URIRef("#commercial")


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write both licences and their policies; raises NotAllowed for a release that was not made to be published."""
    offered(dataset)
    return {
        COMMUNITY.path: community_text(),
        COMMERCIAL.path: _agreement(dataset).encode(),
        POLICY_PATH: turtle(_policies(dataset)),
    }


def offered(dataset: Dataset) -> None:
    """Raise NotAllowed unless those who contributed to a release agreed to its being published and sold."""
    if dataset.purpose != "publish":
        raise NotAllowed(
            f"the release of {dataset.week} is for '{dataset.purpose}', and whoever contributed to it did not "
            "agree to its publication; only a release for 'publish' may be licensed and listed"
        )


def community_text() -> bytes:
    """The Community Data License Agreement – Permissive – 2.0, word for word as the SPDX list has it."""
    return (files("metavox_collector.dataset") / "terms" / f"{COMMUNITY.identifier}.txt").read_bytes()


def turtle(graph: Graph) -> bytes:
    """Turtle whose order does not depend on chance; the graph must have no blank nodes."""
    return graph.serialize(format="turtle", encoding="utf-8")


def _agreement(dataset: Dataset) -> str:
    publisher = dataset.publisher
    sections = "".join(
        f"## {number}. {section.heading}\n\n" + "".join(f"{c.number}. {c.text}\n\n" for c in section.clauses)
        for number, section in enumerate(SECTIONS, 1)
    )
    return (
        f"# {COMMERCIAL.name}\n\n"
        "A template. It binds nobody until both parties have filled its blanks, which stand in square brackets, "
        "and signed it. Have it read by a lawyer of your country. `odrl.ttl` says the same, clause by clause, for "
        "machines; where they differ this text holds.\n\n"
        f"Between {publisher.name}, {publisher.address} ({publisher.email}), the Publisher,\n"
        "and [name, address, register number], the Customer.\n\n"
        f"{sections}"
        f"## Schedule A: the Data\n\n"
        f"- {dataset.title}, `{dataset.name}`, version {dataset.version}\n"
        f"- SHA-256 of the release: `{dataset.statement.release}`\n"
        "- and every later release of the same series that is published during the term.\n\n"
        "Signed for the Publisher: [name, place, date]\n\n"
        "Signed for the Customer: [name, place, date]\n"
    )


def _policies(dataset: Dataset) -> Graph:
    graph = Graph()
    for prefix, space in (("cc", CC), ("dct", DCTERMS), ("foaf", FOAF), ("odrl", ODRL2), ("skos", SKOS)):
        graph.bind(prefix, space)
    _parties(graph, dataset)
    _community(graph)
    _commercial(graph)
    return graph


def _parties(graph: Graph, dataset: Dataset) -> None:
    graph.add((PROFILE, RDF.type, SKOS.ConceptScheme))
    graph.add((PROFILE, DCTERMS.title, Literal("Actions that MetaVox's licences need beside ODRL's", lang="en")))
    graph.add((PUBLISHER, RDF.type, ODRL2.Party))
    graph.add((PUBLISHER, FOAF.name, Literal(dataset.publisher.name)))
    graph.add((CUSTOMER, RDF.type, ODRL2.Party))
    graph.add((CUSTOMER, FOAF.name, Literal("whoever signs the agreement", lang="en")))
    graph.add((DATASET, RDF.type, ODRL2.Asset))
    graph.add((RESULTS, RDF.type, ODRL2.Asset))
    graph.add((RESULTS, DCTERMS.source, DATASET))
    for name, meaning in OWN_ACTIONS.items():
        action = URIRef(f"#{name}")
        graph.add((action, RDF.type, ODRL2.Action))
        graph.add((action, ODRL2.includedIn, ODRL2.use))
        graph.add((action, SKOS.inScheme, PROFILE))
        graph.add((action, SKOS.definition, Literal(meaning, lang="en")))


def _policy(graph: Graph, policy: URIRef, title: str, source: str) -> None:
    graph.add((policy, RDF.type, ODRL2.Policy))
    graph.add((policy, RDF.type, ODRL2.Offer))
    graph.add((policy, ODRL2.uid, policy))
    graph.add((policy, ODRL2.profile, PROFILE))
    graph.add((policy, ODRL2.assigner, PUBLISHER))
    graph.add((policy, ODRL2.target, DATASET))
    graph.add((policy, DCTERMS.title, Literal(title, lang="en")))
    graph.add((policy, DCTERMS.source, URIRef(source)))


def _community(graph: Graph) -> None:
    """CDLA-Permissive-2.0: use, modify and share (1.1); with the licence's text (2.1). It forbids nothing."""
    _policy(graph, COMMUNITY_POLICY, COMMUNITY.name, COMMUNITY.url)
    for name, action in (("use", ODRL2.use), ("modify", ODRL2.modify), ("share", ODRL2.distribute)):
        permission = URIRef(f"#community-{name}")
        graph.add((COMMUNITY_POLICY, ODRL2.permission, permission))
        graph.add((permission, RDF.type, ODRL2.Permission))
        graph.add((permission, ODRL2.action, action))
        graph.add((permission, ODRL2.target, DATASET))
    notice = URIRef("#community-notice")
    graph.add((URIRef("#community-share"), ODRL2.duty, notice))
    graph.add((notice, RDF.type, ODRL2.Duty))
    graph.add((notice, ODRL2.action, CC.Notice))


def _commercial(graph: Graph) -> None:
    _policy(graph, COMMERCIAL_POLICY, COMMERCIAL.name, "commercial.md")
    for section in SECTIONS:
        for clause in section.clauses:
            _clause(graph, clause)


def _clause(graph: Graph, clause: Clause) -> None:
    node = URIRef(f"#clause-{clause.number}")
    graph.add((node, DCTERMS.identifier, Literal(clause.number)))
    graph.add((node, DCTERMS.isPartOf, COMMERCIAL_POLICY))
    graph.add((node, DCTERMS.description, Literal(clause.text, lang="en")))
    if clause.rule is not None:
        _rule(graph, node, clause.rule)


def _rule(graph: Graph, node: URIRef, rule: Rule) -> None:
    kinds = {"permission": ODRL2.Permission, "prohibition": ODRL2.Prohibition, "obligation": ODRL2.Duty}
    sides = (CUSTOMER, PUBLISHER) if rule.assignee == "customer" else (PUBLISHER, CUSTOMER)
    graph.add((COMMERCIAL_POLICY, ODRL2[rule.kind], node))
    graph.add((node, RDF.type, kinds[rule.kind]))
    graph.add((node, ODRL2.action, URIRef(f"#{rule.action}") if rule.action in OWN_ACTIONS else ODRL2[rule.action]))
    graph.add((node, ODRL2.target, DATASET if rule.target == "data" else RESULTS))
    graph.add((node, ODRL2.assignee, sides[0]))
    graph.add((node, ODRL2.assigner, sides[1]))
    for constraint in rule.constraints:
        _constraint(graph, node, constraint)


def _constraint(graph: Graph, rule: URIRef, constraint: Constraint) -> None:
    node = URIRef(f"{rule}-{constraint.left}")
    duration = constraint.right.startswith("P") and constraint.right[-1] in "DY"
    graph.add((rule, ODRL2.constraint, node))
    graph.add((node, RDF.type, ODRL2.Constraint))
    graph.add((node, ODRL2.leftOperand, ODRL2[constraint.left]))
    graph.add((node, ODRL2.operator, ODRL2[constraint.operator]))
    graph.add((node, ODRL2.rightOperand, Literal(constraint.right, datatype=XSD.duration if duration else None)))
