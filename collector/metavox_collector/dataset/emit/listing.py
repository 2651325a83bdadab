"""The listing: what a data marketplace shows of the product, once for all and once in the form of each of four.

``listing/listing.yaml`` is ours and complete; the others derive from the same words and are held against what the
marketplace asks before anything is written. A sample, three queries and the dictionary come with it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from metavox_collector.dataset.emit import queries, yaml_text
from metavox_collector.dataset.emit.csv import cell
from metavox_collector.dataset.emit.exports import (
    SAMPLE,
    SUBTITLE,
    aws,
    databricks,
    google,
    long_description,
    snowflake,
    title,
)
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.emit.marketplaces import (
    AWS,
    DATABRICKS,
    GOOGLE,
    MARKETPLACES,
    SNOWFLAKE,
    Marketplace,
    refusals,
)
from metavox_collector.dataset.facts import first_day, last_day
from metavox_collector.dataset.json_text import legible
from metavox_collector.dataset.licences import LICENCES
from metavox_collector.dataset.model import Dataset
from metavox_collector.dataset.paths import DICTIONARY
from metavox_collector.dataset.series import cadence, latency_days
from metavox_collector.dataset.words import KEYWORDS, price
from metavox_collector.errors import ListingRefused

PATH: Final = "listing/listing.yaml"
SAMPLE_ROWS: Final = 20

_WEBSITE: Final = "not written: it asks for a website, so set controller_url"


def emit(dataset: Dataset, data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Write the listing, a sample, three queries, and the listing as each marketplace takes it.

    A marketplace that asks for the publisher's website is left out where there is none, which the listing says.

    Args:
        dataset: What is listed.
        data: The data files, for their size.

    Raises:
        NotAllowed: for a release that was not made to be published.
        ListingRefused: if a marketplace would not take its listing; the message names every field and its limit.
    """
    offered(dataset)
    documents = {SNOWFLAKE: snowflake(dataset), AWS: aws(dataset, data)}
    documents |= {DATABRICKS: databricks(dataset, data), GOOGLE: google(dataset)}
    if not dataset.publisher.url:
        documents = {AWS: documents[AWS], GOOGLE: documents[GOOGLE]}
    enforce(documents)
    written = {market.path: _written(market, document) for market, document in documents.items()}
    own = yaml_text.encode(listing(dataset, documents))
    return {PATH: own, SAMPLE: sample(dataset), **queries.emit(dataset), **written}


def enforce(documents: Mapping[Marketplace, Mapping[str, Any]]) -> None:
    """Raise ListingRefused, with every reason, if a marketplace would not take its listing."""
    reasons = [reason for market, document in documents.items() for reason in refusals(market, document)]
    if reasons:
        raise ListingRefused("no listing was written, for it would be refused: " + "; ".join(reasons))


def listing(dataset: Dataset, exported: Mapping[Marketplace, object]) -> dict[str, Any]:
    """The listing itself; ``exported`` are the marketplaces that it is written for."""
    release, publisher = dataset.release, dataset.publisher
    return {
        "product": title(dataset),
        "subtitle": SUBTITLE,
        "synthetic": dataset.synthetic,
        "description": long_description(dataset),
        "keywords": list(KEYWORDS),
        "release": {"name": dataset.name, "version": dataset.version, "issued": dataset.issued.isoformat()},
        "period": {"first_day": first_day(release.week, release.weeks), "last_day": last_day(release.week)},
        "refresh": {"cadence": cadence(dataset), "weeks": release.weeks, "latency_days": latency_days(dataset)},
        "publisher": {"name": publisher.name, "email": publisher.email, "url": publisher.url},
        "licences": [
            {"id": li.identifier, "name": li.name, "text": li.path, "for": li.audience} for li in LICENCES
        ],
        "privacy": price(dataset),
        "dictionary": DICTIONARY,
        "sample": {"file": SAMPLE, "rows": min(SAMPLE_ROWS, len(dataset.table("performance").rows))},
        "queries": [
            {"title": query.title, "description": query.description, "sql": query.over_files}
            for query in queries.queries(dataset)
        ],
        "tables": [
            {"name": table.name, "question": table.question, "rows": len(table.rows)} for table in dataset.tables
        ],
        "marketplaces": [
            {
                "name": market.name,
                "file": market.path if market in exported else _WEBSITE,
                "left_to_the_publisher": list(market.left),
            }
            for market in MARKETPLACES
        ],
    }


def sample(dataset: Dataset) -> bytes:
    """The first rows of the performance table, as CSV."""
    table = dataset.table("performance")
    names = [column.name for column in table.columns]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([cell(row[name]) for name in names] for row in table.rows[:SAMPLE_ROWS])
    return text.getvalue().encode()


def _written(market: Marketplace, document: Mapping[str, Any]) -> bytes:
    if market.path.endswith(".yaml"):
        return yaml_text.encode(document)
    return legible(document)
