"""Every setting, with its default. Each can be given as ``METAVOX_COLLECTOR_<NAME>`` in the environment."""

from __future__ import annotations

import os
from datetime import timedelta

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from metavox_collector.errors import NotAllowed
from metavox_privacy.fields import Purpose

PREFIX = "METAVOX_COLLECTOR_"
SDK_VARIABLE = f"{PREFIX}URL"  # where a contributor sends; set on many an operator's own machine


class Settings(BaseSettings):
    """What an operator can choose."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    db: str = Field("sqlite:///metavox-collector.db", description="SQLAlchemy URL of the database")
    sandbox: bool = Field(
        False, description="a database for demonstrations, which takes synthetic reports; chosen at its birth"
    )
    max_body_bytes: int = Field(2**20, ge=1024, description="largest body of a request as it arrives")
    max_inflated_bytes: int = Field(2**22, ge=1024, description="largest body of a request after gunzip")
    max_reports: int = Field(1000, ge=1, description="most reports in one request")
    decoders: int = Field(4, ge=1, description="how many bodies are inflated and decoded at a time")
    max_connections: int = Field(
        1000, ge=2, description="most connections at a time; what comes beyond them is answered 503"
    )
    header_timeout_s: float = Field(
        10, gt=0, description="how long a connection may wait or take for a request's header, in seconds"
    )
    body_timeout_s: float = Field(30, gt=0, description="how long a sender may take for a body, in seconds")
    retry_after_s: int = Field(30, ge=1, description="the Retry-After of an answer 503, in seconds")
    busy_timeout_s: float = Field(
        5, ge=0, le=3600, description="how long to wait for a locked database, in seconds"
    )
    accept_weeks: int = Field(
        4, ge=2, le=4, description="for how many weeks, 2 to 4, after its end a week's reports are taken, and kept"
    )
    grace_days: int = Field(
        10, ge=0, le=13, description="how long after its end a week can be closed, 0 to 13 days"
    )
    publish_nano_rho: int = Field(10_000_000, ge=1000, description="budget of a published release, in nano-rho")
    improve_nano_rho: int = Field(3_000_000, ge=1000, description="budget of the maintainers' release, in nano-rho")
    yearly_cap_nano_rho: int = Field(
        700_000_000,
        ge=1000,
        le=10**18,  # SQL's BIGINT holds no ten times more
        description="most that the releases of one ISO year may cost together, in nano-rho",
    )

    @model_validator(mode="after")
    def _a_week_fits_the_cap(self) -> Settings:
        if self.publish_nano_rho + self.improve_nano_rho > self.yearly_cap_nano_rho:
            raise ValueError("the budgets of a week's two releases are larger together than the yearly cap")
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


def load(**given: object) -> Settings:
    """Settings from the environment, over which what is given and not None has precedence.

    Raises:
        NotAllowed: if a value is out of its bounds, or a name in the environment is no setting's.
    """
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name != SDK_VARIABLE
        and name[len(PREFIX) :].lower() not in Settings.model_fields
    )
    if unknown:
        raise NotAllowed(f"{unknown[0]} is not a setting; docs/operating.md lists them")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        which = f"the setting {name} is wrong" if name else "the settings are wrong"
        raise NotAllowed(f"{which}: {first['msg'].lower().removeprefix('value error, ')}") from None
