"""Whether each document is whole and agrees with the data, by the check that each format brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from metavox_collector.dataset.checks import (
    card,
    contract,
    croissant,
    csv,
    datasheet,
    dcat,
    dictionary,
    frictionless,
    gdpr,
    licences,
    listing,
    page,
    parquet,
)
from metavox_collector.pack.opened import Opened
from metavox_collector.proof.problem import Problem

Check = Callable[[Mapping[str, bytes]], Sequence[str]]

ALWAYS: Mapping[str, Check] = {
    "data dictionary": dictionary.validate,
    "Parquet": parquet.validate,
    "CSV": csv.validate,
    "GDPR file": gdpr.check,
}
"""What every pack has."""

OFFERED: Mapping[str, Check] = {
    "card": card.validate,
    "Croissant": croissant.validate,
    "Data Package": frictionless.validate,
    "datasheet": datasheet.validate,
    "DCAT": dcat.validate,
    "data contract": contract.validate,
    "licences": licences.validate,
    "listing": listing.validate,
    "release browser": page.validate,
}
"""What only a release has that is published."""


def check(pack: Opened) -> Iterator[Problem]:
    """What each format's own check finds; a check that fails by what it reads finds that."""
    checks = {**ALWAYS, **(OFFERED if pack.release.purpose == "publish" else {})}
    for name, validate in checks.items():
        try:
            found = validate(pack.files)
        except Exception as error:  # whoever forged a file chose what is in it
            found = [f"{name}: it cannot be checked: {type(error).__name__}"]
        yield from map(_problem, found)


def _problem(line: str) -> Problem:
    file, _, says = line.partition(": ")
    return Problem(file, says)
