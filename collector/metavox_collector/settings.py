"""Every setting, with its default and what it is for.

Each can be given as an option of the command line where there is one, as ``METAVOX_COLLECTOR_<NAME>`` in the
environment, or as ``<name>`` in a TOML file that ``--config`` or ``METAVOX_COLLECTOR_CONFIG`` names, in that order
of precedence. The table in docs/operating.md derives from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import to_json
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from metavox_collector import sources
from metavox_collector.errors import NotAllowed
from metavox_privacy.fields import Purpose

PREFIX = sources.PREFIX


def _split(given: object) -> object:
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


Network = Annotated[str, AfterValidator(lambda text: str(ip_network(text)))]
"""Like ``10.0.0.0/8``, or an address alone."""

Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
"""A list in TOML; with commas between them in the environment."""


def _spark_option(given: str) -> str:
    name, equals, _ = given.partition("=")
    if not equals or not name.startswith("spark."):
        raise ValueError("an option of Spark is written like spark.executor.memory=2g")
    if name in _SPARK_ELSEWHERE:
        raise ValueError(f"{name} is given by {_SPARK_ELSEWHERE[name]}")
    if re.search("secret|password|token|access[.]?key", name, re.IGNORECASE):  # what Spark itself hides
        raise ValueError(f"{name} would be on a command line; write it into spark-defaults.conf in SPARK_CONF_DIR")
    return given


_SPARK_ELSEWHERE = {
    "spark.master": "spark_master",
    "spark.jars": "spark_jdbc_jar",
    "spark.pyspark.python": "the variable PYSPARK_PYTHON",
}

SparkOption = Annotated[str, AfterValidator(_spark_option)]
"""Like ``spark.executor.memory=2g``."""

SparkOptions = Annotated[tuple[SparkOption, ...], NoDecode, BeforeValidator(_split)]
"""A list in TOML; with commas between them in the environment."""


def _processor(given: str) -> str:
    name, _, rest = given.partition("|")
    purpose, _, country = rest.partition("|")
    if not (name.strip() and purpose.strip() and re.fullmatch("[A-Z]{2}", country)):
        raise ValueError('a processor is written like "name|purpose|IT", with the country as ISO 3166 has it')
    return given


Processor = Annotated[str, AfterValidator(_processor)]
"""Like ``Example Hosting|runs the database|IT``."""

Processors = Annotated[tuple[Processor, ...], NoDecode, BeforeValidator(_split)]
"""A list in TOML; with commas between them in the environment."""

DatabaseUrl = Annotated[str, AfterValidator(sources.understood)]
"""SQLAlchemy's, with a password at its usual place if at all."""


def _whole(given: object) -> object:
    return int(given) if isinstance(given, str) and given.isdecimal() else given


Cadence = Annotated[Literal[1, 4], BeforeValidator(_whole)]
"""Weeks; the environment gives every number as text, which a literal would not take."""

_HOUR = 3600


class Settings(BaseSettings):
    """What an operator can choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    db: DatabaseUrl = Field("sqlite:///metavox-collector.db", description="SQLAlchemy URL of the database")
    db_password_file: Path | None = Field(
        None, description="file whose first line is the password of the database's user, so that it is nowhere else"
    )
    sandbox: bool = Field(
        False, description="a database for demonstrations, which takes synthetic reports; chosen at its birth"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(
        8320, ge=0, le=65535, description="port to listen on; 0 takes a free one, which the ready line names"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that serve")
    monitor_host: str = Field("127.0.0.1", description="address to listen on for monitoring")
    monitor_port: int | None = Field(
        None, ge=0, le=65535, description="port for monitoring (`/metrics`, `/ready`, `/health`), if any"
    )
    log_format: Literal["text", "json"] = Field("text", description="how warnings and errors are written to stderr")
    own_traces: bool = Field(
        False, description="traces of the service itself are sent to where `OTEL_EXPORTER_OTLP_ENDPOINT` says"
    )
    tls_cert: Path | None = Field(None, description="PEM file of the certificate and its chain; needs `tls_key`")
    tls_key: Path | None = Field(None, description="PEM file of the private key; needs `tls_cert`")
    trusted_proxies: Networks = Field(
        (), description="networks of proxies before this service, whose `X-Forwarded-For` is believed"
    )
    allow_public: bool = Field(
        False, description="permits an address that other machines can reach, without TLS and without a proxy"
    )
    max_body_bytes: int = Field(2**20, ge=1024, le=2**30, description="largest body of a request as it arrives")
    max_inflated_bytes: int = Field(
        2**22, ge=1024, le=2**30, description="largest body of a request after inflation"
    )
    max_reports: int = Field(1000, ge=1, le=10**6, description="most reports in one request")
    decoders: int = Field(4, ge=1, le=256, description="how many bodies are inflated and decoded at a time")
    max_connections: int = Field(
        1000, ge=2, le=10**6, description="most connections at a time; what comes beyond them is answered 503"
    )
    header_timeout_s: float = Field(
        10, gt=0, le=_HOUR, description="how long a connection may wait or take for a request's header, in seconds"
    )
    body_timeout_s: float = Field(
        30, gt=0, le=_HOUR, description="how long a sender may take for a body, in seconds"
    )
    drain_timeout_s: int = Field(
        20, ge=1, le=600, description="how long a process that is to end goes on answering, in seconds"
    )
    max_waiting_reports: int = Field(
        4096, ge=1, description="most reports that wait for a commit in one process; then senders are answered 429"
    )
    max_waiting_bytes: int = Field(
        2**26, ge=2**20, description="most bytes of bodies that one process holds; then senders are answered 429"
    )
    retry_after_s: int = Field(
        30, ge=1, le=24 * _HOUR, description="the `Retry-After` of an answer 429 or 503, in seconds"
    )
    busy_timeout_s: float = Field(
        5, ge=0, le=_HOUR, description="how long to wait for a locked database, in seconds"
    )
    sends_per_minute: int = Field(
        600, ge=1, le=10**6, description="requests with reports in a minute, for each IPv4 address or IPv6 /64"
    )
    deletions_per_minute: int = Field(
        60, ge=1, le=10**6, description="requests to delete a report in a minute, for each of the same"
    )
    reports_per_block: int = Field(
        1000, ge=1, le=10**9, description="reports in one ISO week, for each IPv4 /24 or IPv6 /48"
    )
    unlimited_networks: Networks = Field(
        ("127.0.0.0/8", "::1/128"), description="networks without those three limits, like that of a fleet's relay"
    )
    require_token: Path | None = Field(
        None, description="file with the hashes of fleets' tokens, one of which senders of reports must show then"
    )
    accept_weeks: int = Field(
        4, ge=2, le=4, description="for how many weeks, 2 to 4, after its end a week's reports are taken, and kept"
    )
    grace_days: int = Field(
        10, ge=0, le=13, description="how long after its end a week can be closed, 0 to 13 days"
    )
    cadence_weeks: Cadence = Field(
        1, description="how many weeks are released together; 4 needs `accept_weeks` 4 and `grace_days` 6 at most"
    )
    scope: Literal["auto", "full", "coarse"] = Field(
        "auto", description="how finely a release is cut; `auto` asks the last one how large the fleet was"
    )
    controller_name: str | None = Field(
        None, description="who decides about the data and publishes it, as the documents of a release name them"
    )
    controller_address: str | None = Field(None, description="their postal address, on one line")
    controller_country: str | None = Field(
        None, pattern="^[A-Z]{2}$", description="the country they are established in, like `IT` (ISO 3166)"
    )
    controller_email: str | None = Field(None, pattern="^[^@ ]+@[^@ ]+$", description="where they are written to")
    controller_url: str | None = Field(None, pattern="^https://", description="their website")
    dpo_contact: str | None = Field(None, description="how their data protection officer is reached, if any")
    hosting_country: str | None = Field(
        None, pattern="^[A-Z]{2}$", description="the country the database is in (ISO 3166)"
    )
    processors: Processors = Field(
        (), description='who works for them with staged reports, a list like `["name|purpose|IT"]`'
    )
    signing_key: Path | None = Field(
        None, description="PEM file of the key that releases are signed with; `keys generate` makes one"
    )
    publish_nano_rho: int = Field(14_500_000, ge=1000, description="budget of a published release, in nano-ρ")
    improve_nano_rho: int = Field(2_500_000, ge=1000, description="budget of the maintainers' release, in nano-ρ")
    yearly_cap_nano_rho: int = Field(
        901_000_000,  # a year of 53 weeks
        ge=1000,
        le=10**18,  # SQL's BIGINT holds no ten times more
        description="most that the releases of one ISO year may cost together, in nano-ρ",
    )
    spark_master: str | None = Field(
        None, description="Spark cluster that `close --engine spark` folds on, like `spark://host:7077`"
    )
    spark_db: DatabaseUrl | None = Field(
        None, description="URL with which its executors reach the database, if not `db`; a role that may only read"
    )
    spark_jdbc_jar: Path = Field(
        Path("/usr/share/java/postgresql.jar"), description="PostgreSQL's JDBC driver, on the machine that closes"
    )
    spark_partitions: int = Field(
        32, ge=1, le=65536, description="into how many slices a week is cut, each read and summed by one executor"
    )
    spark_timeout_s: float = Field(
        _HOUR, gt=0, le=7 * 24 * _HOUR, description="how long a fold on Spark may take, in seconds"
    )
    spark_conf: SparkOptions = Field(
        (), description='Spark\'s own settings, a list like `["spark.executor.memory=2g"]`, without secrets'
    )

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # the others are of no use to it
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given alone: where it comes from is :func:`explain`'s matter, which remembers it."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _the_password_is_read(cls, given: dict[str, Any]) -> dict[str, Any]:
        file, url = given.get("db_password_file"), given.get("db", "")
        if not isinstance(file, (str, Path)) or not isinstance(url, str):
            return given  # not given, or about to be refused
        return {**given, "db": sources.with_password_of(Path(file), url)}

    @model_validator(mode="after")
    def _a_period_fits_the_cap(self) -> Settings:
        if self.publish_nano_rho + self.improve_nano_rho > self.yearly_cap_nano_rho:
            raise ValueError("the budgets of a period's two releases are larger together than the yearly cap")
        return self

    @model_validator(mode="after")
    def _a_period_is_kept(self) -> Settings:
        if self.cadence_weeks == 4 and (self.accept_weeks < 4 or self.grace_days > 6):
            raise ValueError(
                "four weeks can be released together only while the first one's reports are kept: set accept_weeks "
                "to 4 and grace_days to 6 at most"
            )
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; give both, or neither")
        return self

    @property
    def accepted_for(self) -> timedelta:
        """How long after its end a week's reports are taken, and kept; people are promised 30 days at most."""
        return timedelta(weeks=self.accept_weeks)

    @property
    def grace(self) -> timedelta:
        """How long after its end a week can be closed."""
        return timedelta(days=self.grace_days)

    def nano_rho(self, purpose: Purpose) -> int:
        """The budget of one release for a purpose."""
        return {"publish": self.publish_nano_rho, "improve": self.improve_nano_rho}[purpose]


@dataclass(frozen=True)
class Explained:
    """Settings, and where each came from that somebody gave."""

    settings: Settings
    source: dict[str, str]

    def as_toml(self) -> str:
        """The effective configuration as a TOML file, with passwords hidden and each value's source beside it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for name in Settings.model_fields:
            value = getattr(self.settings, name)
            if name in sources.URLS and value is not None:
                value = sources.without_password(value)
            # JSON's strings, numbers and lists are TOML's as well; TOML has no null.
            written = f"# {name} is not set" if value is None else f"{name} = {to_json(value).decode()}"
            yield f"{written}  # {self.source.get(name, 'default')}"


def explain(config: Path | None = None, **given: object) -> Explained:
    """Settings from the command line (what is given and not None), the environment and a TOML file.

    Raises:
        NotAllowed: if a value is out of its bounds, a name is no setting's, or a secret is there for everybody.
    """
    gathered = sources.gather(Settings, config, given)
    try:
        settings = Settings(**{name: one.value for name, one in gathered.items()})
    except ValidationError as error:
        raise NotAllowed(_told(error)) from None
    return Explained(settings, {name: one.source for name, one in gathered.items()})


def load(config: Path | None = None, **given: object) -> Settings:
    """The settings alone; arguments and errors are those of :func:`explain`."""
    return explain(config, **given).settings


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    which = f"the setting {name} is wrong" if name else "the settings are wrong"
    said = first["msg"].removeprefix("Value error, ")
    return f"{which}: {said[:1].lower()}{said[1:]}"
