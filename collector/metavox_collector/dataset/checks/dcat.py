"""The DCAT-AP description: what the profile makes mandatory or recommends, and each file with its size and hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from rdflib import DCTERMS, FOAF, PROV, RDF, RDFS, Graph, URIRef
from rdflib.namespace import ODRL2
from rdflib.term import Node

from metavox_collector.dataset.checks import rdf
from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.reading import Pack, telling
from metavox_collector.dataset.emit.dcat import (
    DCAT,
    DCATAP,
    DPV,
    EU_GDPR,
    OTHER,
    PATH,
    SPDX,
    VCARD,
    WEEKLY,
    mailto,
)
from metavox_collector.dataset.licences import COMMUNITY, POLICY_PATH

_ONE: Final = {
    "title": DCTERMS.title,
    "description": DCTERMS.description,
    "identifier": DCTERMS.identifier,
    "publisher": DCTERMS.publisher,
    "contact point": DCAT.contactPoint,
    "date of issue": DCTERMS.issued,
    "period": DCTERMS.temporal,
    "place": DCTERMS.spatial,
    "theme": DCAT.theme,
    "frequency": DCTERMS.accrualPeriodicity,
    "version": DCAT.version,
    "provenance": DCTERMS.provenance,
    "access rights": DCTERMS.accessRights,
    "language": DCTERMS.language,
    "series": DCAT.inSeries,
}
"""What the dataset has exactly once."""

_OF_A_FILE: Final = {
    "title": DCTERMS.title,
    "description": DCTERMS.description,
    "accessURL": DCAT.accessURL,
    "media type": DCAT.mediaType,
    "format": DCTERMS["format"],
    "availability": DCATAP.availability,
    "rights": DCTERMS.rights,
}
"""What a distribution has exactly once."""

_DATASET: Final = rdf.node(f"{PATH}#dataset")


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the description, a line each."""
    described, found = dictionary(pack), rdf.graph(pack, PATH)
    problems = (*_dataset(found, described), *_files(found, pack), *_making(found))
    return [f"{PATH}: {problem}" for problem in problems]


def _dataset(found: Graph, described: dict[str, Any]) -> Iterator[str]:
    if list(found.subjects(RDF.type, DCAT.Dataset)) != [_DATASET]:
        yield "it does not describe exactly one dataset, #dataset"
    for name, predicate in _ONE.items():
        if rdf.only(found, _DATASET, predicate) is None:
            yield f"the dataset has no {name}, or several"
    if not list(found.objects(_DATASET, DCAT.keyword)):
        yield "the dataset has no keyword"
    publisher = found.value(_DATASET, DCTERMS.publisher)
    if str(found.value(publisher, FOAF.name)) != described["publisher"]["name"]:
        yield "the publisher's name is not that of the dictionary"
    mail = found.value(found.value(_DATASET, DCAT.contactPoint), VCARD.hasEmail)
    if mail != mailto(described["publisher"]["email"]):
        yield "the contact's address is not that of the dictionary"
    yield from _same(found, described)
    policies = {rdf.node(f"{POLICY_PATH}#{name}") for name in ("community", "commercial")}
    if set(found.objects(_DATASET, ODRL2.hasPolicy)) != policies:
        yield f"the dataset's policies are not the two of {POLICY_PATH}"
    for catalogue in found.subjects(RDF.type, DCAT.Catalog):
        if (catalogue, DCAT.dataset, _DATASET) not in found:
            yield "the catalogue does not hold the dataset"


def _same(found: Graph, described: dict[str, Any]) -> Iterator[str]:
    """What the dictionary says too."""
    release = described["release"]
    period = found.value(_DATASET, DCTERMS.temporal)
    expected = {
        "title": (DCTERMS.title, described["title"]),
        "version": (DCAT.version, described["version"]),
        "identifier": (DCTERMS.identifier, f"{described['name']}@sha256:{described['privacy']['release_sha256']}"),
        "date of issue": (DCTERMS.issued, described["issued"]),
        "temporal resolution": (DCAT.temporalResolution, f"P{7 * release['weeks']}D"),
        "frequency": (DCTERMS.accrualPeriodicity, str(WEEKLY if release["weeks"] == 1 else OTHER)),
    }
    for name, (predicate, value) in expected.items():
        if str(found.value(_DATASET, predicate)) != value:
            yield f"the dataset's {name} is {str(found.value(_DATASET, predicate))!r}, where it should be {value!r}"
    for name, predicate in (("start", DCAT.startDate), ("end", DCAT.endDate)):
        if rdf.only(found, period, predicate) is None if period is not None else True:
            yield f"the period has no {name}, or several"
    if release["synthetic"] and "synthetic" not in str(found.value(_DATASET, DCTERMS.description)).lower():
        yield "the description does not say that the figures are synthetic"


def _files(found: Graph, pack: Pack) -> Iterator[str]:
    linked = set(found.objects(_DATASET, DCAT.distribution))
    nodes = set(found.subjects(RDF.type, DCAT.Distribution))
    if linked != nodes:
        yield "not every distribution is the dataset's"
    by_url: dict[str, list[Node]] = {}
    for node in nodes:
        by_url.setdefault(str(found.value(node, DCAT.downloadURL)).removeprefix(rdf.BASE), []).append(node)
    files = {path for path in pack if path.startswith(("data/", "csv/"))}
    for path in sorted(files | set(by_url)):
        if path not in files:
            yield f"{path} is described and not in the pack"
        elif len(by_url.get(path, ())) != 1:
            yield f"{path} has {len(by_url.get(path, ()))} distributions, and needs one"
        else:
            yield from _file(found, by_url[path][0], path, pack[path])


def _file(found: Graph, node: Node, path: str, content: bytes) -> Iterator[str]:
    for name, predicate in _OF_A_FILE.items():
        if rdf.only(found, node, predicate) is None:
            yield f"{path} has no {name}, or several"
    if rdf.only(found, node, DCTERMS.license) != URIRef(COMMUNITY.url):
        yield f"{path} is not under {COMMUNITY.url}"
    if str(rdf.only(found, node, DCAT.byteSize)) != str(len(content)):
        yield f"{path} has {len(content)} bytes, and not {found.value(node, DCAT.byteSize)}"
    checksum = rdf.only(found, node, SPDX.checksum)
    algorithm = rdf.only(found, checksum, SPDX.algorithm) if checksum is not None else None
    if algorithm != SPDX.checksumAlgorithm_sha256:
        yield f"{path} has no SHA-256"
    elif str(found.value(checksum, SPDX.checksumValue)) != hashlib.sha256(content).hexdigest():
        yield f"{path} has another SHA-256"


def _making(found: Graph) -> Iterator[str]:
    """What DPV must say of how it was made."""
    made = found.value(_DATASET, PROV.wasGeneratedBy)
    if made is None:
        yield "it does not say by which process the dataset was made"
        return
    if (made, DPV.hasLegalBasis, EU_GDPR["A6-1-a"]) not in found:
        yield "the process names no consent as its legal basis"
    for name, predicate in (("purpose", DPV.hasPurpose), ("controller", DPV.hasDataController)):
        if found.value(made, predicate) is None:
            yield f"the process has no {name}"
    measures = set(found.objects(made, DPV.hasTechnicalMeasure))
    if not any((measure, RDF.type, DPV.DifferentialPrivacy) in found for measure in measures):
        yield "the process does not name differential privacy as a measure"
    for risk in found.objects(made, DPV.hasRisk):
        if found.value(risk, DPV.isMitigatedByMeasure) not in measures:
            yield "a risk names no measure of the process"
    if not list(found.objects(made, DPV.hasRisk)):
        yield "the process names no risk"
    statement = found.value(_DATASET, DCTERMS.provenance)
    if found.value(statement, RDFS.label) is None:
        yield "the provenance says nothing"
