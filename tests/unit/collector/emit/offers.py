"""A pack with what a catalogue, a pipeline, a lawyer and a marketplace read, and how to change one thing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from rdflib import Graph

from metavox_collector.dataset.emit import contract, csv, dcat, dictionary, licences, listing, parquet
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.packs import Pack

BASE = "https://pack.invalid/"


def offer_of(dataset: Dataset) -> dict[str, bytes]:
    """The data, its dictionary, and the documents that are tested here."""
    data = {**parquet.emit(dataset), **csv.emit(dataset)}
    documents = {**dcat.emit(dataset, data), **contract.emit(dataset), **licences.emit(dataset)}
    return {**data, **dictionary.emit(dataset), **documents, **listing.emit(dataset, data)}


def graph_of(pack: Pack, path: str) -> Graph:
    """A Turtle file, as if the pack were at an address."""
    return Graph().parse(data=pack[path].decode(), format="turtle", publicID=BASE + path)


def rewritten(pack: Pack, path: str, change: Callable[[Any], object]) -> dict[str, bytes]:
    """The pack with one YAML file changed in place."""
    value = yaml.safe_load(pack[path])
    change(value)
    return {**pack, path: yaml.safe_dump(value, sort_keys=False).encode()}


def redrawn(pack: Pack, path: str, change: Callable[[Graph], object]) -> dict[str, bytes]:
    """The pack with one Turtle file changed."""
    graph = graph_of(pack, path)
    change(graph)
    return {**pack, path: graph.serialize(format="turtle", encoding="utf-8")}
