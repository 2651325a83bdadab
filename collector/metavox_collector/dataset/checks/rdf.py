"""Reading a pack's Turtle files: relative addresses become ones of a pack that is nowhere."""

from __future__ import annotations

from rdflib import Graph, URIRef
from rdflib.term import Node

from metavox_collector.dataset.checks.reading import Pack, Unusable, text

BASE = "https://pack.invalid/"


def graph(pack: Pack, path: str) -> Graph:
    """A Turtle file as a graph; raises Unusable if it is missing or no Turtle."""
    written = text(pack, path)
    try:
        return Graph().parse(data=written, format="turtle", publicID=BASE + path)
    except Exception as error:  # the parser raises what its parts raise: BadSyntax, IndexError, AssertionError, ...
        raise Unusable(
            f"{path}: no Turtle: {str(error).strip().splitlines()[0] if str(error) else error!r}"
        ) from None


def node(path: str) -> URIRef:
    """What a pack's relative address stands for."""
    return URIRef(BASE + path)


def only(found: Graph, subject: Node, predicate: URIRef) -> Node | None:
    """The one value, or None if there is none or several."""
    values = list(found.objects(subject, predicate))
    return values[0] if len(values) == 1 else None
