"""Which other libraries in this environment send telemetry of their own, and how each is switched off.

Nothing here imports, asks or changes such a library: whether it is installed is read from the metadata of
distributions, whether it is off from the environment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata

from metavox.telemetry.others.libraries import LIBRARIES, Library


@dataclass(frozen=True, slots=True)
class OtherTelemetry:
    """How things stand with an installed library.

    Attributes:
        library: Its name as installed.
        sends: What it sends, in a few words.
        is_on: Whether it may send, as far as the environment says.
        decided_by: The environment variable that decides, None where it is the library's default.
        switch_off: What to do about it, such as ``"VLLM_NO_USAGE_STATS=1"`` or ``"unset LANGSMITH_TRACING"``.
        elsewhere: Another way, which was not looked at, None where there is none.
    """

    library: str
    sends: str
    is_on: bool
    decided_by: str | None
    switch_off: str
    elsewhere: str | None


def found(environment: Mapping[str, str]) -> list[OtherTelemetry]:
    """How things stand with each installed library of the table, by name; reads the metadata of distributions."""
    return states(environment, installed())


def active(environment: Mapping[str, str], installed: Collection[str]) -> list[OtherTelemetry]:
    """Those of the installed libraries that may send, by name.

    Args:
        environment: The environment they run in.
        installed: The distributions that are there, named as in ``LIBRARIES``.
    """
    return [other for other in states(environment, installed) if other.is_on]


def states(environment: Mapping[str, str], installed: Collection[str]) -> list[OtherTelemetry]:
    """How things stand with each of the installed libraries, by name; arguments as for ``active``."""
    there = sorted((one for one in LIBRARIES if one.distribution in installed), key=lambda one: one.distribution)
    return [_state(library, environment) for library in there]


def installed() -> frozenset[str]:
    """The distributions of the table that can be imported here, without importing any."""
    return frozenset(library.distribution for library in LIBRARIES if _is_installed(library.distribution))


def _is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except (metadata.PackageNotFoundError, OSError, ValueError):  # the latter two: an environment half written
        return False
    return True


def _state(library: Library, environment: Mapping[str, str]) -> OtherTelemetry:
    off = [switch.variable for switch in library.off if switch.is_set(environment)]
    on = [switch.variable for switch in library.on if switch.is_set(environment)]
    asks = on or [switch.variable for switch in library.on[:1]]
    return OtherTelemetry(
        library=library.distribution,
        sends=library.sends,
        is_on=not off and (bool(on) or not library.on),
        decided_by=next(iter(off + on), None),
        switch_off=str(library.off[0]) if library.off else "unset " + " ".join(asks),
        elsewhere=library.elsewhere,
    )
