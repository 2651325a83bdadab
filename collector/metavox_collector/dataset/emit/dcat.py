"""The DCAT-AP 3.0 description in Turtle, with what the Data Privacy Vocabulary (DPV 2) says of its making.

DCAT-AP: https://semiceu.github.io/DCAT-AP/releases/3.0.0; DPV: https://w3id.org/dpv. Controlled values are those of
the EU Publications Office. Addresses are relative to the file, so that they hold wherever the pack is put, and
every node has a name, so that the same dataset gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from rdflib import DCTERMS, FOAF, PROV, RDF, RDFS, SKOS, XSD, Graph, Literal, Namespace, URIRef
from rdflib.namespace import ODRL2
from rdflib.term import Node

from metavox_collector.dataset.emit.licences import offered, turtle
from metavox_collector.dataset.facts import first_day, last_day
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, POLICY_PATH
from metavox_collector.dataset.model import Dataset
from metavox_collector.dataset.paths import DICTIONARY, csv_path, parquet_path
from metavox_collector.dataset.series import SERIES, SERIES_WORDS
from metavox_collector.dataset.words import KEYWORDS, collection, preprocessing, price, summary

PATH: Final = "dcat.ttl"

DCAT = Namespace("http://www.w3.org/ns/dcat#")  # rdflib's own is of version 2, without series and versions
DCATAP = Namespace("http://data.europa.eu/r5r/")
DPV = Namespace("https://w3id.org/dpv#")
EU_GDPR = Namespace("https://w3id.org/dpv/legal/eu/gdpr#")
SPDX = Namespace("http://spdx.org/rdf/terms#")
VCARD = Namespace("http://www.w3.org/2006/vcard/ns#")
EU = Namespace("http://publications.europa.eu/resource/authority/")
IANA = Namespace("https://www.iana.org/assignments/media-types/")
_NAMESPACES: Final = {
    "dcat": DCAT,
    "dcatap": DCATAP,
    "dct": DCTERMS,
    "dpv": DPV,
    "eu-gdpr": EU_GDPR,
    "foaf": FOAF,
    "odrl": ODRL2,
    "prov": PROV,
    "skos": SKOS,
    "spdx": SPDX,
    "vcard": VCARD,
}

DATASET, SERIES_NODE, CATALOGUE = URIRef("#dataset"), URIRef("#series"), URIRef("#catalogue")
PUBLISHER, CONTACT, PERIOD, CLOSE = URIRef("#publisher"), URIRef("#contact"), URIRef("#period"), URIRef("#close")
RIGHTS = URIRef("#rights")
EARTH = URIRef("https://sws.geonames.org/6295630/")
WEEKLY, OTHER = EU["frequency/WEEKLY"], EU["frequency/OTHER"]
ENGLISH = EU["language/ENG"]

_KEPT: Final = ":/?#[]@!$&'()*+,;=%~"
"""What RFC 3986 reserves, which stays as it is in an address that the settings give."""

FORMATS: Final = {
    "parquet": (IANA["application/vnd.apache.parquet"], EU["file-type/PARQUET"], "Apache Parquet"),
    "csv": (IANA["text/csv"], EU["file-type/CSV"], "CSV"),
}
"""By file ending: IANA's media type, the EU's file type, and a name."""

_RIGHTS_WORDS: Final = (
    f"Offered to everybody under {COMMUNITY.identifier}, and by contract under the {COMMERCIAL.name} "
    f"({COMMERCIAL.path}); whoever receives the data chooses. Both as ODRL policies: {POLICY_PATH}."
)


def emit(dataset: Dataset, data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Describe a dataset and each of its data files.

    Args:
        dataset: What is described.
        data: The files of every table by path, as the emitters of Parquet and CSV made them.

    Raises:
        NotAllowed: for a release that was not made to be published.
        KeyError: if a table's file is missing.
    """
    offered(dataset)
    graph = Graph()
    for prefix, namespace in _NAMESPACES.items():
        graph.bind(prefix, namespace)
    _agents(graph, dataset)
    _catalogue(graph, dataset)
    _dataset(graph, dataset)
    _licences(graph)
    for table in dataset.tables:
        for path in (parquet_path(table.name), csv_path(table.name)):
            _distribution(graph, dataset, path, f"{table.name}: {table.question}", data[path])
    _processing(graph, dataset)
    return {PATH: turtle(graph)}


def mailto(address: str) -> URIRef:
    """An e-mail address as RFC 6068 has it."""
    return URIRef(f"mailto:{quote(address, safe='@+')}")


def _say(graph: Graph, subject: URIRef, kind: Node, facts: Mapping[URIRef, Node | None]) -> None:
    graph.add((subject, RDF.type, kind))
    for predicate, value in facts.items():
        if value is not None:
            graph.add((subject, predicate, value))


def _words(text: str) -> Literal:
    return Literal(text, lang="en")


def _concept(graph: Graph, concept: URIRef, kind: Node, label: str) -> URIRef:
    _say(graph, concept, kind, {RDFS.label if kind != SKOS.Concept else SKOS.prefLabel: _words(label)})
    return concept


def _agents(graph: Graph, dataset: Dataset) -> None:
    publisher = dataset.publisher
    homepage = URIRef(quote(publisher.url, safe=_KEPT)) if publisher.url else None
    _say(graph, PUBLISHER, FOAF.Agent, {FOAF.name: Literal(publisher.name), FOAF.homepage: homepage})
    if homepage is not None:
        graph.add((homepage, RDF.type, FOAF.Document))
    facts: dict[URIRef, Node | None] = {
        VCARD.fn: Literal(publisher.name),
        VCARD.hasEmail: mailto(publisher.email),
        VCARD.hasURL: homepage,
    }
    _say(graph, CONTACT, VCARD.Organization, facts)
    graph.add((CONTACT, RDF.type, VCARD.Kind))


def _catalogue(graph: Graph, dataset: Dataset) -> None:
    """A catalogue of this one dataset, so that a portal may harvest the file as it is; and its series."""
    weekly = dataset.release.weeks == 1
    frequency = _concept(graph, WEEKLY if weekly else OTHER, DCTERMS.Frequency, "weekly" if weekly else "other")
    _concept(graph, ENGLISH, DCTERMS.LinguisticSystem, "English")
    shared: dict[URIRef, Node | None] = {DCTERMS.publisher: PUBLISHER, DCTERMS.description: _words(SERIES_WORDS)}
    _say(
        graph,
        CATALOGUE,
        DCAT.Catalog,
        shared
        | {DCTERMS.title: _words(f"{SERIES}, one release"), DCAT.dataset: DATASET, DCTERMS.language: ENGLISH},
    )
    facts: dict[URIRef, Node | None] = {
        DCTERMS.title: _words(SERIES),
        DCTERMS.accrualPeriodicity: frequency,
        DCAT.contactPoint: CONTACT,
    }
    _say(graph, SERIES_NODE, DCAT.DatasetSeries, shared | facts)


def _dataset(graph: Graph, dataset: Dataset) -> None:
    release = dataset.release
    issued = Literal(dataset.issued.isoformat(), datatype=XSD.date)
    resolution = Literal(f"P{7 * release.weeks}D", datatype=XSD.duration)
    public = _concept(graph, EU["access-right/PUBLIC"], DCTERMS.RightsStatement, "public")
    theme = _concept(graph, EU["data-theme/TECH"], SKOS.Concept, "Science and technology")
    _concept(graph, EARTH, DCTERMS.Location, "Earth: no place is recorded, and none can be told")
    _period(graph, first_day(release.week, release.weeks), last_day(release.week))
    _say(graph, URIRef("#provenance"), DCTERMS.ProvenanceStatement, {RDFS.label: _words(collection(dataset))})
    dictionary = URIRef(DICTIONARY)
    _say(graph, dictionary, FOAF.Document, {DCTERMS.title: _words("The data dictionary")})
    _say(
        graph,
        DATASET,
        DCAT.Dataset,
        {
            DCTERMS.title: _words(dataset.title),
            DCTERMS.description: _words(summary(dataset)),
            DCTERMS.identifier: Literal(f"{dataset.name}@sha256:{dataset.statement.release}"),
            DCTERMS.issued: issued,
            DCTERMS.publisher: PUBLISHER,
            DCTERMS.creator: PUBLISHER,
            DCTERMS.language: ENGLISH,
            DCTERMS.spatial: EARTH,
            DCTERMS.temporal: PERIOD,
            DCTERMS.accessRights: public,
            DCTERMS.accrualPeriodicity: WEEKLY if release.weeks == 1 else OTHER,
            DCTERMS.provenance: URIRef("#provenance"),
            DCAT.contactPoint: CONTACT,
            DCAT.inSeries: SERIES_NODE,
            DCAT.temporalResolution: resolution,
            DCAT.theme: theme,
            DCAT.version: Literal(dataset.version),
            FOAF.page: dictionary,
            PROV.wasGeneratedBy: CLOSE,
        },
    )
    for keyword in (*KEYWORDS, *(["synthetic"] if dataset.synthetic else [])):
        graph.add((DATASET, DCAT.keyword, _words(keyword)))
    for fragment in ("community", "commercial"):
        graph.add((DATASET, ODRL2.hasPolicy, URIRef(f"{POLICY_PATH}#{fragment}")))
        graph.add((URIRef(f"{POLICY_PATH}#{fragment}"), RDF.type, ODRL2.Policy))


def _period(graph: Graph, first: str, last: str) -> None:
    days = {DCAT.startDate: first, DCAT.endDate: last}
    facts = {predicate: Literal(day, datatype=XSD.date) for predicate, day in days.items()}
    _say(graph, PERIOD, DCTERMS.PeriodOfTime, facts)


def _licences(graph: Graph) -> None:
    """DCAT-AP allows a distribution one licence: the one that is open to everybody. Its rights name the other."""
    licence = URIRef(COMMUNITY.url)
    facts = {DCTERMS.title: _words(COMMUNITY.name), DCTERMS.identifier: Literal(COMMUNITY.identifier)}
    _say(graph, licence, DCTERMS.LicenseDocument, facts)
    _say(graph, RIGHTS, DCTERMS.RightsStatement, {RDFS.label: _words(_RIGHTS_WORDS)})


def _distribution(graph: Graph, dataset: Dataset, path: str, title: str, content: bytes) -> None:
    media, file_type, name = FORMATS[path.rsplit(".", 1)[1]]
    node, checksum = URIRef(f"#{path}"), URIRef(f"#{path}-checksum")
    _say(graph, media, DCTERMS.MediaType, {RDFS.label: _words(name)})
    _say(graph, file_type, DCTERMS.MediaTypeOrExtent, {RDFS.label: _words(name)})
    available = _concept(graph, EU["planned-availability/STABLE"], SKOS.Concept, "stable")
    graph.add((SPDX.checksumAlgorithm_sha256, RDF.type, SPDX.ChecksumAlgorithm))
    digest = Literal(hashlib.sha256(content).hexdigest(), datatype=XSD.hexBinary)
    _say(
        graph, checksum, SPDX.Checksum, {SPDX.algorithm: SPDX.checksumAlgorithm_sha256, SPDX.checksumValue: digest}
    )
    _say(
        graph,
        node,
        DCAT.Distribution,
        {
            DCTERMS.title: _words(f"{path} ({name})"),
            DCTERMS.description: _words(title),
            DCAT.accessURL: URIRef(path),
            DCAT.downloadURL: URIRef(path),
            DCAT.mediaType: media,
            DCTERMS["format"]: file_type,
            DCAT.byteSize: Literal(str(len(content)), datatype=XSD.nonNegativeInteger),
            SPDX.checksum: checksum,
            DCTERMS.license: URIRef(COMMUNITY.url),
            DCTERMS.rights: RIGHTS,
            DCTERMS.issued: Literal(dataset.issued.isoformat(), datatype=XSD.date),
            DCATAP.availability: available,
        },
    )
    graph.add((URIRef(path), RDF.type, RDFS.Resource))
    graph.add((DATASET, DCAT.distribution, node))


def _processing(graph: Graph, dataset: Dataset) -> None:
    """How it was made, as DPV has it: the basis on which it was collected, what protects people, what remains."""
    noise, risk = URIRef("#differential-privacy"), URIRef("#re-identification")
    _say(
        graph,
        noise,
        DPV.DifferentialPrivacy,
        {
            DCTERMS.title: _words("Discrete Gaussian noise before anything is published"),
            DCTERMS.description: _words(f"{price(dataset)} The proof is in proof/."),
        },
    )
    _say(
        graph,
        URIRef("#anonymisation"),
        DPV.Anonymisation,
        {DCTERMS.description: _words(" ".join(preprocessing(dataset)))},
    )
    _say(
        graph,
        risk,
        DPV.Risk,
        {
            DCTERMS.title: _words("Somebody is singled out, linked, or learned about"),
            DCTERMS.description: _words(
                "Bounded by the noise, whoever attacks and whatever they know; measured by proof/attacks.json. The "
                "commercial agreement forbids the attempt; the community licence forbids nothing."
            ),
            DPV.isMitigatedByMeasure: noise,
        },
    )
    _say(graph, CLOSE, PROV.Activity, {DCTERMS.title: _words(f"The close of {dataset.week}")})
    graph.add((CLOSE, RDF.type, DPV.Process))
    for predicate, values in {
        DPV.hasDataController: (PUBLISHER,),
        DPV.hasPurpose: (DPV.SellDataToThirdParties, DPV.ResearchAndDevelopment),
        DPV.hasLegalBasis: (EU_GDPR["A6-1-a"],),
        DPV.hasProcessing: (DPV.Anonymise, DPV.Analyse, DPV.Disseminate, DPV.Erase),
        DPV.hasTechnicalMeasure: (noise, URIRef("#anonymisation")),
        DPV.hasRisk: (risk,),
        DPV.hasData: (DATASET,),
    }.items():
        for value in values:
            graph.add((CLOSE, predicate, value))
    graph.add((DATASET, RDF.type, DPV.AnonymisedData))
