"""Croissant 1.1 (http://mlcommons.org/croissant/1.1) with the RAI vocabulary 1.0, as JSON-LD.

Every table is a RecordSet over its Parquet file and every column a Field. A field's unit is an annotation whose
``equivalentProperty`` is schema.org's ``unitText``: a constant, or the row's own column ``unit``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from metavox_collector.dataset import words
from metavox_collector.dataset.citation import citation
from metavox_collector.dataset.columns import Column
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.facts import first_day, last_day, primary_key
from metavox_collector.dataset.json_text import legible
from metavox_collector.dataset.licences import COMMERCIAL, COMMUNITY, POLICY_PATH
from metavox_collector.dataset.model import Dataset, DatasetTable
from metavox_collector.dataset.paths import CROISSANT, csv_path, parquet_path

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")

CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        term: f"cr:{term}"
        for term in (
            *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes"),
            *("extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "readLines", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "sdVersion", "separator", "source"),
            *("subField", "transform", "unArchive"),
        )
    },
}
"""Croissant's own names as the specification's appendix maps them, over schema.org."""

DATA_TYPES = {
    "string": "sc:Text",
    "int64": "cr:Int64",
    "double": "cr:Float64",
    "bool": "sc:Boolean",
    "list<int64>": "cr:Int64",
    "list<double>": "cr:Float64",
}
"""A field's type for each type that a column can have; that of its items for a list."""


def emit(dataset: Dataset, data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Describe the data files of a pack, whose bytes are in ``data`` by path.

    Raises:
        NotAllowed: for a release that was not made to be published.
    """
    offered(dataset)
    described = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        **_dataset(dataset),
        **_responsible(dataset),
        "distribution": [
            one
            for table in dataset.tables
            for one in (
                _file(parquet_path(table.name), "application/x-parquet", data),
                {**_file(csv_path(table.name), "text/csv", data), "sameAs": parquet_path(table.name)},
            )
        ],
        "recordSet": [_record_set(table) for table in dataset.tables],
    }
    return {CROISSANT: legible(described)}


def _dataset(dataset: Dataset) -> dict[str, Any]:
    publisher = {
        "@type": "sc:Organization",
        "name": dataset.publisher.name,
        "email": dataset.publisher.email,
        **({"url": dataset.publisher.url} if dataset.publisher.url else {}),
    }
    return {
        "name": dataset.name,
        "alternateName": dataset.title,
        "description": words.summary(dataset),
        "version": dataset.version,
        "datePublished": dataset.issued.isoformat(),
        "temporalCoverage": f"{first_day(dataset.week, dataset.release.weeks)}/{last_day(dataset.week)}",
        "inLanguage": "en",
        "keywords": list(words.KEYWORDS),
        "url": dataset.publisher.url or f"mailto:{dataset.publisher.email}",
        "license": [
            COMMUNITY.url,
            {"@type": "sc:CreativeWork", "name": COMMERCIAL.name, "url": COMMERCIAL.path},
        ],
        "usageInfo": {"@type": "sc:CreativeWork", "name": "Both licences as ODRL policies", "url": POLICY_PATH},
        "creator": publisher,
        "publisher": publisher,
        "citeAs": citation(dataset),
        "isLiveDataset": False,
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"metavox {dataset.code.version}, code SHA-256 {dataset.code.sha256}",
        },
    }


def _responsible(dataset: Dataset) -> dict[str, Any]:
    """The RAI vocabulary's properties that concern data which nobody labelled."""
    return {
        "rai:dataCollection": words.collection(dataset),
        "rai:dataCollectionType": ["Software Collection", "Direct measurement"],
        "rai:dataCollectionRawData": words.RAW_DATA,
        "rai:dataCollectionMissingData": words.thresholds(dataset),
        "rai:dataCollectionTimeframe": [
            f"{first_day(dataset.week, dataset.release.weeks)}T00:00:00Z",
            f"{last_day(dataset.week)}T23:59:59Z",
        ],
        "rai:dataImputationProtocol": "Nothing is imputed: a figure that noise hides is left empty.",
        "rai:dataManipulationProtocol": words.price(dataset),
        "rai:dataPreprocessingProtocol": list(words.preprocessing(dataset)),
        "rai:dataBiases": list(words.biases(dataset)),
        "rai:dataLimitations": list(words.limitations(dataset)),
        "rai:dataUseCases": [*words.uses(), *(f"Not for: {misuse}" for misuse in words.misuses())],
        "rai:dataSocialImpact": words.IMPACT,
        "rai:personalSensitiveInformation": [words.personal(dataset)],
        "rai:dataReleaseMaintenancePlan": " ".join(words.maintenance(dataset)),
    }


def _file(path: str, media_type: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path.rsplit("/", 1)[-1],
        "contentUrl": path,
        "contentSize": f"{len(data[path])} B",
        "encodingFormat": media_type,
        "sha256": hashlib.sha256(data[path]).hexdigest(),
    }


def _record_set(table: DatasetTable) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": table.question,
        "key": [{"@id": f"{table.name}/{name}"} for name in primary_key(table)],
        "field": [_field(table, column) for column in table.columns],
    }


def _field(table: DatasetTable, column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{table.name}/{column.name}",
        "name": column.name,
        "description": column.description,
        "dataType": DATA_TYPES[column.type],
        "source": _source(table, column.name),
    }
    if column.type.startswith("list<"):
        field |= {"isArray": True, "arrayShape": "-1"}
    if column.unit:
        field["annotation"] = _unit(table, column)
    return field


def _unit(table: DatasetTable, column: Column) -> dict[str, Any]:
    said = {"source": _source(table, "unit")} if column.unit == "unit" else {"value": column.unit}
    return {
        "@type": "cr:Field",
        "@id": f"{table.name}/{column.name}/unit",
        "name": "unit",
        "description": "UCUM unit",
        "dataType": "sc:Text",
        "equivalentProperty": "sc:unitText",
        **said,
    }


def _source(table: DatasetTable, column: str) -> dict[str, Any]:
    return {"fileObject": {"@id": parquet_path(table.name)}, "extract": {"column": column}}
