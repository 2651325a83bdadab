"""The licences: the community licence word for word, the agreement and its policy clause by clause the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

from rdflib import DCTERMS, RDF, SKOS, Graph
from rdflib.namespace import FOAF, ODRL2
from rdflib.term import Node

from metavox_collector.dataset.agreement import SECTIONS
from metavox_collector.dataset.checks import rdf
from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, Unusable, text
from metavox_collector.dataset.emit.licences import CC
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, POLICY_PATH

WORDS: Final = "5eea30f5d846a77d2bbd93072bb5c1344b2eff8ff1b01aebaa401b7378b28de4"
"""SHA-256 of the words of CDLA-Permissive-2.0, with a space between them, as the SPDX list's source has them."""

_CLAUSE: Final = re.compile(r"^(\d+\.\d+)\. (.+)$", re.MULTILINE)
_KINDS: Final = {"permission": ODRL2.Permission, "prohibition": ODRL2.Prohibition, "obligation": ODRL2.Duty}
_SILENT: Final = frozenset(c.number for section in SECTIONS for c in section.clauses if c.rule is None)
"""Clauses that only explain others. Every other one must have a rule."""

_POLICIES: Final = tuple(rdf.node(f"{POLICY_PATH}#{name}") for name in ("community", "commercial"))


def validate(pack: Pack) -> list[str]:
    """What is wrong with the licences, a line each."""
    problems: list[str] = []
    try:
        words = " ".join(text(pack, COMMUNITY.path).split())
        if hashlib.sha256(words.encode()).hexdigest() != WORDS:
            problems.append(f"{COMMUNITY.path}: not the words of {COMMUNITY.identifier}")
        found, agreed, described = rdf.graph(pack, POLICY_PATH), text(pack, COMMERCIAL.path), dictionary(pack)
    except Unusable as error:
        return [*problems, *error.problems]
    problems += [f"{COMMERCIAL.path}: {problem}" for problem in _clauses(agreed, found)]
    problems += [f"{COMMERCIAL.path}: {problem}" for problem in _named(agreed, described)]
    if str(found.value(rdf.node(f"{POLICY_PATH}#publisher"), FOAF.name)) != described["publisher"]["name"]:
        problems.append(f"{POLICY_PATH}: its publisher is not that of the dictionary")
    return problems + [f"{POLICY_PATH}: {problem}" for problem in _policies(found)]


def _named(agreed: str, described: dict[str, Any]) -> Iterator[str]:
    """What the agreement is about."""
    for name, value in {
        "dataset": described["name"],
        "version": described["version"],
        "release": described["privacy"]["release_sha256"],
        "publisher": described["publisher"]["name"],
    }.items():
        if value not in agreed:
            yield f"it does not name the {name}, {value}"


def _clauses(agreed: str, found: Graph) -> Iterator[str]:
    """The text against the policy, either way."""
    policy = _POLICIES[1]
    nodes = {str(found.value(node, DCTERMS.identifier)): node for node in found.subjects(DCTERMS.isPartOf, policy)}
    written = dict(_CLAUSE.findall(agreed))
    for number in sorted(written.keys() | nodes.keys()):
        if number not in nodes:
            yield f"clause {number} is not in {POLICY_PATH}"
        elif number not in written:
            yield f"clause {number} of {POLICY_PATH} is not in the text"
        elif str(found.value(nodes[number], DCTERMS.description)) != written[number]:
            yield f"clause {number} reads otherwise in {POLICY_PATH}"
        else:
            kinds = [name for name in _KINDS if (policy, ODRL2[name], nodes[number]) in found]
            if len(kinds) != (0 if number in _SILENT else 1):
                yield f"clause {number} has {len(kinds)} rules in {POLICY_PATH}"


def _policies(found: Graph) -> Iterator[str]:
    for policy in _POLICIES:
        name = str(policy).rsplit("#", 1)[1]
        if (policy, RDF.type, ODRL2.Offer) not in found:
            yield f"no offer #{name}"
        for needed in (ODRL2.uid, ODRL2.assigner, ODRL2.target):
            if rdf.only(found, policy, needed) is None:
                yield f"#{name} has no {str(needed).rsplit('/', 1)[1]}, or several"
        for kind, type_ in _KINDS.items():
            for rule in found.objects(policy, ODRL2[kind]):
                yield from _rule(found, rule, type_)
    yield from _promised(found)


def _rule(found: Graph, rule: Node, type_: Node) -> Iterator[str]:
    name = str(rule).rsplit("#", 1)[1]
    if (rule, RDF.type, type_) not in found:
        yield f"#{name} is not of its kind"
    action = rdf.only(found, rule, ODRL2.action)
    if action is None:
        yield f"#{name} has no action, or several"
    elif str(action).startswith(rdf.BASE) and found.value(action, SKOS.definition) is None:
        yield f"#{name} has an action that nothing defines"
    if rdf.only(found, rule, ODRL2.target) is None:
        yield f"#{name} has no target, or several"
    for constraint in found.objects(rule, ODRL2.constraint):
        for part in (ODRL2.leftOperand, ODRL2.operator, ODRL2.rightOperand):
            if rdf.only(found, constraint, part) is None:
                yield f"#{name} has a constraint without {str(part).rsplit('/', 1)[1]}"


def _promised(found: Graph) -> Iterator[str]:
    """What a buyer's lawyer and a contributor look for first."""
    community, commercial = _POLICIES
    forbidden = {found.value(rule, ODRL2.action) for rule in found.objects(commercial, ODRL2.prohibition)}
    if rdf.node(f"{POLICY_PATH}#reidentify") not in forbidden:
        yield "#commercial does not prohibit re-identification"
    duties = list(found.objects(commercial, ODRL2.obligation))
    recalled = [rule for rule in duties if (rule, ODRL2.action, ODRL2.delete) in found]
    if not any(_on(found, rule, "withdrawn") for rule in recalled):
        yield "#commercial does not oblige to delete what is withdrawn"
    if list(found.objects(community, ODRL2.prohibition)):
        yield f"#community prohibits what {COMMUNITY.identifier} does not"
    shared = [rule for rule in found.objects(community, ODRL2.permission) if found.value(rule, ODRL2.duty)]
    if not any((found.value(rule, ODRL2.duty), ODRL2.action, CC.Notice) in found for rule in shared):
        yield f"#community does not ask that the text of {COMMUNITY.identifier} goes with the data"


def _on(found: Graph, rule: Node, event: str) -> bool:
    constraints = found.objects(rule, ODRL2.constraint)
    return any(
        found.value(constraint, ODRL2.leftOperand) == ODRL2.event
        and str(found.value(constraint, ODRL2.rightOperand)) == event
        for constraint in constraints
    )
