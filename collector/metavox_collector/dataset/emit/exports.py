"""The listing in the words and the form of each of four data marketplaces, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from metavox_collector.dataset.emit.marketplaces import AWS_SENSITIVE
from metavox_collector.dataset.emit.queries import queries
from metavox_collector.dataset.facts import first_day, last_day, period
from metavox_collector.dataset.licences import EXPRESSION, LICENCES
from metavox_collector.dataset.model import Dataset
from metavox_collector.dataset.paths import DICTIONARY
from metavox_collector.dataset.series import SERIES, SERIES_WORDS, cadence, latency_days
from metavox_collector.dataset.words import SYNTHETIC, limitations, personal, price, uses

SAMPLE: Final = "listing/sample.csv"

SUBTITLE: Final = "Latency, speed and memory of LLMs in people's hands, by device and model"
_SHORT: Final = (
    "How fast language models really run on people's devices: time to first token, time per output token, memory "
    "and error rate by accelerator and model. Anonymous aggregates under differential privacy, with intervals."
)
_NEEDS: Final = {
    "Machine Learning": "Choose a model, a number format and a device by the speed that others see, and size a "
    "service by quantiles that come with intervals.",
    "Market Analysis": "Follow from week to week which accelerators, models and engines contributors use.",
}


def title(dataset: Dataset) -> str:
    """The product's name, short enough for all of them; it says when figures are no measurements."""
    return f"{SERIES} - synthetic" if dataset.synthetic else SERIES


def short_description(dataset: Dataset) -> str:
    """Two sentences."""
    return f"Synthetic, not a measurement. {_SHORT}" if dataset.synthetic else _SHORT


def long_description(dataset: Dataset) -> str:
    """Markdown: what it is, what for, what not, how people are protected, how often it comes."""
    parts = (
        *([SYNTHETIC] if dataset.synthetic else []),
        SERIES_WORDS,
        "## Tables\n\n" + "\n".join(f"- `{table.name}`: {table.question}" for table in dataset.tables),
        "## What it is good for\n\n" + "\n".join(f"- {use}" for use in uses()),
        "## What to know before\n\n" + "\n".join(f"- {limit}" for limit in limitations(dataset)),
        f"## Privacy\n\n{personal(dataset)}",
        f"## Refresh\n\n{_refresh(dataset)}",
        "## Licences\n\n" + "\n".join(f"- {li.name} ({li.identifier}): {li.audience}" for li in LICENCES),
    )
    return "\n\n".join(parts)


def _refresh(dataset: Dataset) -> str:
    return (
        f"A new release comes {cadence(dataset)}; this one is of {period(dataset.week, dataset.release.weeks)}, "
        f"published {latency_days(dataset)} days after its end."
    )


def snowflake(dataset: Dataset) -> dict[str, Any]:
    """A listing manifest, whose SQL is for tables in a shared database."""
    release = dataset.release
    weekly = "WEEKLY" if release.weeks == 1 else "MONTHLY"  # the nearest of Snowflake's words to four weeks
    days = (first_day(release.week, release.weeks), last_day(release.week))
    start, end = (f"{day[5:7]}-{day[8:]}-{day[:4]}" for day in days)
    return {
        "title": title(dataset),
        "subtitle": SUBTITLE,
        "description": long_description(dataset),
        "profile": dataset.publisher.name,
        "custom_contact": dataset.publisher.email,
        "listing_terms": {"type": "OFFLINE"},
        "targets": {"regions": ["ALL"]},
        "business_needs": [{"name": k, "description": v, "type": "STANDARD"} for k, v in _NEEDS.items()],
        "categories": ["BUSINESS"],
        "data_attributes": {
            "refresh_rate": weekly,
            "geography": {
                "granularity": ["REGION_CONTINENT"],
                "geo_option": "NOT_APPLICABLE",
                "time": {
                    "granularity": weekly,
                    "time_range": {"time_frame": "BETWEEN", "unit": "WEEKS", "start_time": start, "end_time": end},
                },
            },
        },
        "data_dictionary": {
            "featured": {
                "database": "METAVOX",
                "objects": [
                    {"name": table.name.upper(), "schema": "PUBLIC", "domain": "TABLE"} for table in dataset.tables
                ],
            }
        },
        "data_preview": {"has_pii": False},
        "resources": {"documentation": dataset.publisher.url},
        "usage_examples": [
            {"title": query.title, "description": query.description, "query": query.over_tables}
            for query in queries(dataset)
        ],
    }


def aws(dataset: Dataset, data: Mapping[str, bytes]) -> dict[str, Any]:
    """The fields of the console, as its interface names them: data products cannot be made by an API."""
    return {
        "Product": {
            "Title": title(dataset),
            "Visibility": "Public",
            "SensitiveInformation": AWS_SENSITIVE,
            "SupportContact": dataset.publisher.email,
            "Categories": ["Telecommunications Data"],
            "ShortDescription": short_description(dataset),
            "FullDescription": long_description(dataset),
        },
        "DataSets": [
            {
                "Name": dataset.title,
                "Description": f"{SERIES_WORDS} {price(dataset)}",
                "AssetType": "S3_SNAPSHOT",
                "Revision": {"Comment": f"{dataset.name}, version {dataset.version}", "Assets": sorted(data)},
                "DataDictionary": DICTIONARY,
                "Sample": SAMPLE,
            }
        ],
        "Offer": {"RefundPolicy": "A release that is withdrawn is replaced, or its price is given back."},
    }


def databricks(dataset: Dataset, data: Mapping[str, bytes]) -> dict[str, Any]:
    """The body of ``databricks provider-listings create``; times are milliseconds since 1970."""
    release, publisher = dataset.release, dataset.publisher
    frequency = {"interval": release.weeks, "unit": "WEEKLY"}
    size = sum(len(content) for path, content in data.items() if path.endswith(".parquet"))
    return {
        "listing": {
            "summary": {
                "name": title(dataset),
                "subtitle": SUBTITLE,
                "listingType": "STANDARD",
                "status": "DRAFT",
                "categories": ["SCIENCE_AND_RESEARCH", "OTHER"],
                "setting": {"visibility": "PUBLIC"},
            },
            "detail": {
                "description": long_description(dataset),
                "assets": ["ASSET_TYPE_DATA_TABLE"],
                "data_source": "Voluntary, anonymised reports of inference software",
                "geographical_coverage": "Not recorded",
                "cost": "FREE",
                "license": EXPRESSION,
                "collection_date_start": _milliseconds(dataset.first_week.start.timestamp()),
                "collection_date_end": _milliseconds(dataset.week.end.timestamp()) - 1,
                "collection_granularity": frequency,
                "update_frequency": frequency,
                "size": size / 1e9,
                "documentation_link": publisher.url,
                "privacy_policy_link": publisher.url,
                "terms_of_service": publisher.url,
                "support_link": f"mailto:{publisher.email}",
            },
        }
    }


def google(dataset: Dataset) -> dict[str, Any]:
    """A Listing of the Analytics Hub API, without the dataset that it refers to."""
    publisher = dataset.publisher
    contact = publisher.url or publisher.email
    return {
        "displayName": title(dataset),
        "description": f"{short_description(dataset)}\n\n{price(dataset)} A new release comes {cadence(dataset)}.",
        "documentation": long_description(dataset),
        "primaryContact": publisher.email,
        "requestAccess": contact,
        "dataProvider": {"name": publisher.name, "primaryContact": publisher.email},
        "publisher": {"name": publisher.name, "primaryContact": publisher.email},
        "categories": ["CATEGORY_SCIENCE_AND_RESEARCH", "CATEGORY_OTHERS"],
        "discoveryType": "DISCOVERY_TYPE_PRIVATE" if dataset.synthetic else "DISCOVERY_TYPE_PUBLIC",
    }


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
