"""Settings -> Operations: what a collector's settings say about how personal data are handled."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

from metavox_collector.settings import Settings

Transport: TypeAlias = Literal["tls", "proxy", "loopback", "plain"]

EEA: Final = frozenset(
    [
        "AT",
        "BE",
        "BG",
        "CY",
        "CZ",
        "DE",
        "DK",
        "EE",
        "ES",
        "FI",
        "FR",
        "GR",
        "HR",
        "HU",
        "IE",
        "IS",
        "IT",
        "LI",
        "LT",
        "LU",
        "LV",
        "MT",
        "NL",
        "NO",
        "PL",
        "PT",
        "RO",
        "SE",
        "SI",
        "SK",
    ]
)
"""The European Economic Area, in which data move without a transfer in the sense of Chapter V (ISO 3166)."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Who works for the controller with reports.

    Attributes:
        name: The company's.
        purpose: What it does.
        country: Where, in ISO 3166.
    """

    name: str
    purpose: str
    country: str


@dataclass(frozen=True, slots=True)
class Operations:
    """The settings that matter to the documents.

    Attributes:
        accept_weeks: For how many weeks after its end a week's reports are taken, and kept at most.
        grace_days: How many days after its end a week can be closed.
        cadence_weeks: How many weeks are released together.
        improve_nano_rho: Budget of the maintainers' release, in nano-ρ.
        publish_nano_rho: Budget of the published release, in nano-ρ.
        transport: How reports reach the service.
        database: In which kind of database they are staged.
        sends_per_minute: Most requests in a minute for each address block.
        deletions_per_minute: Most requests to delete in a minute for each address block.
        reports_per_block: Most reports in a week for each address block.
        requires_token: Whether senders show a token of a closed fleet.
        folds_on_cluster: Whether weeks are summed on a Spark cluster.
        signs: Whether releases are signed by a key of the settings.
        hosting_country: Where the database is (ISO 3166); None when the controller has not said it.
        processors: Who works for the controller with reports.
    """

    accept_weeks: int
    grace_days: int
    cadence_weeks: int
    improve_nano_rho: int
    publish_nano_rho: int
    transport: Transport
    database: str
    sends_per_minute: int
    deletions_per_minute: int
    reports_per_block: int
    requires_token: bool
    folds_on_cluster: bool
    signs: bool
    hosting_country: str | None
    processors: tuple[Processor, ...]

    @property
    def kept_days(self) -> int:
        """The longest time for which a report is staged after its week's end, in days."""
        return 7 * self.accept_weeks

    @property
    def countries(self) -> frozenset[str]:
        """Where reports are known to be."""
        hosting = () if self.hosting_country is None else (self.hosting_country,)
        return frozenset((*hosting, *(processor.country for processor in self.processors)))


def operations_of(settings: Settings) -> Operations:
    """What the settings say."""
    return Operations(
        accept_weeks=settings.accept_weeks,
        grace_days=settings.grace_days,
        cadence_weeks=settings.cadence_weeks,
        improve_nano_rho=settings.improve_nano_rho,
        publish_nano_rho=settings.publish_nano_rho,
        transport=_transport(settings),
        database=settings.db.partition(":")[0].partition("+")[0],
        sends_per_minute=settings.sends_per_minute,
        deletions_per_minute=settings.deletions_per_minute,
        reports_per_block=settings.reports_per_block,
        requires_token=settings.require_token is not None,
        folds_on_cluster=settings.spark_master is not None,
        signs=settings.signing_key is not None,
        hosting_country=settings.hosting_country,
        processors=tuple(_processor(written) for written in settings.processors),
    )


def _processor(written: str) -> Processor:
    name, purpose, country = (part.strip() for part in written.split("|"))
    return Processor(name, purpose, country)


def _transport(settings: Settings) -> Transport:
    if settings.tls_cert is not None:
        return "tls"
    if settings.trusted_proxies:
        return "proxy"
    return "loopback" if _is_loopback(settings.host) else "plain"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
