"""Settings -> who publishes: a production release names a controller, whom people and buyers can write to."""

from __future__ import annotations

from metavox_collector.dataset.model import Publisher
from metavox_collector.errors import ReleaseRefused
from metavox_collector.settings import Settings

_NEEDED = ("controller_name", "controller_address", "controller_email")

SANDBOX = Publisher(
    name="Example controller (sandbox)",
    address="none: this release was made in a sandbox",
    country=None,
    email="nobody@example.org",
    url=None,
    dpo=None,
)
"""Stands where a sandbox names nobody; its releases are synthetic, and say so."""


def publisher_of(settings: Settings, *, sandbox: bool) -> Publisher:
    """Who publishes, as the settings say.

    Raises:
        ReleaseRefused: if a release of people's reports would name nobody who answers for it.
    """
    missing = [name for name in _NEEDED if not getattr(settings, name)]
    if sandbox and missing:
        return SANDBOX
    if missing:
        raise ReleaseRefused(
            f"the settings {', '.join(missing)} are not given; a release names who is responsible for it, so "
            "nothing was written"
        )
    return Publisher(
        name=settings.controller_name or "",
        address=settings.controller_address or "",
        country=settings.controller_country,
        email=settings.controller_email or "",
        url=settings.controller_url,
        dpo=settings.dpo_contact,
    )
