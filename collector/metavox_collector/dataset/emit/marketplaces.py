"""What four data marketplaces ask of a listing (fields, lengths, words), and whether a document has it.

The rules are those of the marketplaces' own documents, read in November 2026:

- Snowflake: docs.snowflake.com/progaccess/listing-manifest-reference
- AWS Data Exchange: docs.aws.amazon.com/data-exchange/latest/userguide, "Quotas" and "Product details"
- Databricks: docs.databricks.com/api/workspace/providerlistings, and the model of its Go SDK
- Google: cloud.google.com/bigquery/docs/reference/analytics-hub/rest, and analyticshub.proto of v1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Unit: TypeAlias = Literal["characters", "bytes", "entries"]
Values: TypeAlias = frozenset[str]


def _words(text: str) -> Values:
    return frozenset(text.split())


_LINK: Final = r"https?://\S+"
_NO_CONTROLS: Final = r"[^\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]*"
"""Anything but C0 and C1 control codes, of which tab, line feed, form feed and carriage return are allowed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of one field.

    Attributes:
        path: Keys from the document's root; ``*`` stands for every entry of a list.
        most: The greatest length; None for no limit.
        unit: What the length counts.
        required: Whether it must be there and not be empty.
        values: The only ones allowed; empty for any.
        pattern: What the whole of it must match; None for anything.
    """

    path: str
    most: int | None = None
    unit: Unit = "characters"
    required: bool = True
    values: Values = frozenset()
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One marketplace.

    Attributes:
        name: As it calls itself.
        path: The listing for it, within a pack.
        rules: What it asks.
        left: What only the publisher's account there can say, so no file can.
    """

    name: str
    path: str
    rules: tuple[Rule, ...]
    left: tuple[str, ...]


_SNOWFLAKE_NEEDS: Final = frozenset(
    {"Machine Learning", "Market Analysis", "Pricing Analysis", "Demand Forecasting"}
)
_SNOWFLAKE_CATEGORIES: Final = _words(
    "BUSINESS CONNECTORS DEMOGRAPHICS ECONOMY ENERGY ENVIRONMENT FINANCIAL GOVERNMENT HEALTH IDENTITY LEGAL LOCAL "
    "LOOKUP_TABLES MARKETING MEDIA SECURITY SPORTS TRANSPORTATION TRAVEL WEATHER"
)
_RATES: Final = _words("CONTINUOUSLY HOURLY DAILY WEEKLY MONTHLY QUARTERLY ANNUALLY STATIC")
_GRANULARITIES: Final = _words("EVENT_BASED HOURLY DAILY WEEKLY MONTHLY YEARLY")
_TIME: Final = "data_attributes.geography.time"

SNOWFLAKE: Final = Marketplace(
    "Snowflake Marketplace",
    "listing/snowflake.yaml",
    (
        Rule("title", 110),
        Rule("subtitle", 110),
        Rule("description", 7500),
        Rule("profile"),
        Rule("listing_terms.type", values=frozenset({"STANDARD", "OFFLINE", "CUSTOM"})),
        Rule("targets.regions", 100, "entries"),
        Rule("business_needs", 6, "entries"),
        Rule("business_needs.*.name", values=_SNOWFLAKE_NEEDS),
        Rule("business_needs.*.description", 1000),
        Rule("categories", 1, "entries"),
        Rule("categories.*", values=_SNOWFLAKE_CATEGORIES),
        Rule("data_attributes.refresh_rate", values=_RATES),
        Rule("data_attributes.geography.granularity", 8, "entries"),
        Rule(
            "data_attributes.geography.geo_option",
            values=frozenset({"NOT_APPLICABLE", "GLOBAL", "COUNTRIES"}),
        ),
        Rule(f"{_TIME}.granularity", values=_GRANULARITIES),
        Rule(f"{_TIME}.time_range.time_frame", values=frozenset({"NEXT", "LAST", "BETWEEN"})),
        Rule(f"{_TIME}.time_range.unit", values=frozenset({"DAYS", "WEEKS", "MONTHS", "YEARS"})),
        Rule(f"{_TIME}.time_range.start_time", pattern=r"\d{2}-\d{2}-\d{4}"),
        Rule(f"{_TIME}.time_range.end_time", pattern=r"\d{2}-\d{2}-\d{4}"),
        Rule("data_dictionary.featured.database"),
        Rule("data_dictionary.featured.objects", 5, "entries"),
        Rule("data_dictionary.featured.objects.*.name"),
        Rule("data_dictionary.featured.objects.*.schema"),
        Rule("data_dictionary.featured.objects.*.domain", values=frozenset({"TABLE", "VIEW"})),
        Rule("data_preview.has_pii"),
        Rule("resources.documentation", pattern=_LINK),
        Rule("usage_examples", 10, "entries"),
        Rule("usage_examples.*.title", 110),
        Rule("usage_examples.*.description", 300, required=False),
        Rule("usage_examples.*.query", 30_000),
    ),
    ("the approved provider profile, if it is not named like the publisher", "the share with the tables"),
)

AWS_SENSITIVE: Final = (
    "No personal data that is not otherwise publicly available, and no sensitive categories of information"
)

AWS: Final = Marketplace(
    "AWS Data Exchange",
    "listing/aws.json",
    (
        Rule("Product.Title", 72),
        Rule("Product.Visibility", values=frozenset({"Public", "Private"})),
        Rule("Product.SensitiveInformation", values=frozenset({AWS_SENSITIVE})),
        Rule("Product.SupportContact"),
        Rule("Product.Categories", 2, "entries"),
        Rule("Product.ShortDescription", 500),
        # The guide asks that whoever lists aggregated or anonymised data says so in the long description.
        Rule("Product.FullDescription", 30_000, pattern=r"(?is).*aggregated.*anonymis.*"),
        Rule("DataSets", 25, "entries"),
        Rule("DataSets.*.Name", 256),
        Rule("DataSets.*.Description", 16_384),
        Rule("DataSets.*.AssetType", values=frozenset({"S3_SNAPSHOT"})),
        Rule("DataSets.*.Revision.Comment", 128),
        Rule("DataSets.*.Revision.Assets", 10_000, "entries"),
        Rule("Offer.RefundPolicy", 200),
    ),
    (
        "a category, if another fits better",
        "a logo of at most 100 KB",
        "the offer's price",
        "the agreement as a file of at most 10 MB",
    ),
)

_DATABRICKS_CATEGORIES: Final = _words(
    "ADVERTISING_AND_MARKETING CLIMATE_AND_ENVIRONMENT COMMERCE DEMOGRAPHICS ECONOMICS EDUCATION ENERGY FINANCIAL "
    "GAMING GEOSPATIAL HEALTH LOOKUP_TABLES MANUFACTURING MEDIA OTHER PUBLIC_SECTOR RETAIL SCIENCE_AND_RESEARCH "
    "SECURITY SPORTS TRANSPORTATION_AND_LOGISTICS TRAVEL_AND_TOURISM"
)
_UNITS: Final = _words("NONE SECOND MINUTE HOURLY DAILY WEEKLY MONTHLY QUARTERLY YEARLY")

DATABRICKS: Final = Marketplace(
    "Databricks Marketplace",
    "listing/databricks.json",
    (
        Rule("listing.summary.name", 100, pattern=r"[A-Za-z0-9].*"),
        Rule("listing.summary.subtitle", pattern=r"[^\n]*"),
        Rule("listing.summary.listingType", values=frozenset({"STANDARD", "PERSONALIZED"})),
        Rule("listing.summary.status", values=frozenset({"DRAFT"})),
        Rule("listing.summary.categories.*", values=_DATABRICKS_CATEGORIES),
        Rule("listing.summary.setting.visibility", values=frozenset({"PUBLIC", "PRIVATE"})),
        Rule("listing.detail.description"),
        Rule("listing.detail.assets.*", values=frozenset({"ASSET_TYPE_DATA_TABLE"})),
        Rule("listing.detail.cost", values=frozenset({"FREE", "PAID"})),
        Rule("listing.detail.update_frequency.unit", values=_UNITS),
        Rule("listing.detail.collection_granularity.unit", values=_UNITS),
        Rule("listing.detail.documentation_link", pattern=_LINK),
        Rule("listing.detail.privacy_policy_link", pattern=_LINK),
        Rule("listing.detail.terms_of_service", pattern=_LINK),
        Rule("listing.detail.support_link"),
    ),
    (
        "the share with the tables, without which nothing is published",
        "the addresses of its privacy policy and terms, if they are not its website",
    ),
)

_GOOGLE_CATEGORIES: Final = frozenset(
    f"CATEGORY_{name}"
    for name in _words(
        "OTHERS ADVERTISING_AND_MARKETING COMMERCE CLIMATE_AND_ENVIRONMENT DEMOGRAPHICS ECONOMICS EDUCATION ENERGY "
        "FINANCIAL GAMING GEOSPATIAL HEALTHCARE_AND_LIFE_SCIENCE MEDIA PUBLIC_SECTOR RETAIL SPORTS "
        "SCIENCE_AND_RESEARCH TRANSPORTATION_AND_LOGISTICS TRAVEL_AND_TOURISM"
    )
)

GOOGLE: Final = Marketplace(
    "Google BigQuery sharing (Analytics Hub)",
    "listing/google.json",
    (
        Rule("displayName", 63, "bytes", pattern=r"(?! )[\w\- &]+(?<! )"),
        Rule("description", 2000, "bytes", pattern=_NO_CONTROLS),
        Rule("primaryContact", 1000, "bytes"),
        Rule("requestAccess", 1000, "bytes"),
        Rule("documentation"),
        Rule("dataProvider.name"),
        Rule("dataProvider.primaryContact", 1000, "bytes"),
        Rule("categories", 2, "entries"),
        Rule("categories.*", values=_GOOGLE_CATEGORIES),
        Rule("discoveryType", values=frozenset({"DISCOVERY_TYPE_PRIVATE", "DISCOVERY_TYPE_PUBLIC"})),
    ),
    ("the BigQuery dataset with the tables (bigqueryDataset)", "the data exchange that it is listed in"),
)

MARKETPLACES: Final = (SNOWFLAKE, AWS, DATABRICKS, GOOGLE)


def refusals(marketplace: Marketplace, document: Mapping[str, Any]) -> Iterator[str]:
    """Why a marketplace would not take a listing, a line for each reason; nothing if it would."""
    for rule in marketplace.rules:
        found = list(values_at(document, rule.path))
        if rule.required and not found:
            yield f"{marketplace.name}: {rule.path} is missing"
        for where, value in found:
            reason = _refusal(rule, value)
            if reason is not None:
                yield f"{marketplace.name}: {where} {reason}"


def values_at(document: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Whatever stands at a rule's path, with the path's stars filled in."""
    return _at(document, path.split("."), ())


def _at(value: Any, path: Sequence[str], above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not path:
        yield ".".join(above), value
    elif path[0] == "*" and isinstance(value, list):
        for position, entry in enumerate(value):
            yield from _at(entry, path[1:], (*above, str(position)))
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:], (*above, path[0]))


def _refusal(rule: Rule, value: Any) -> str | None:
    if value is None or value in ("", []):
        return "is empty" if rule.required else None
    if rule.most is not None and (length := _length(value, rule.unit)) > rule.most:
        return f"has {length} {rule.unit}, and at most {rule.most} are taken; shorten it"
    if rule.values and value not in rule.values:
        return f"is {value!r}, and only {', '.join(sorted(rule.values))} are taken"
    if rule.pattern is not None and not (isinstance(value, str) and re.fullmatch(rule.pattern, value)):
        return f"is {str(value)[:60]!r}, which is not of the form that is taken"
    return None


def _length(value: Any, unit: Unit) -> int:
    return len(str(value).encode()) if unit == "bytes" else len(value)
