"""``index.html``: the release for a person, as one file that asks nobody for anything.

It has no asset beside itself and its content policy permits none, so it reads the same from a disk, a mail or a
website, with scripts or without: the script only sorts and filters what is there.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files as resources
from statistics import NormalDist
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from metavox_collector.dataset import paths, words
from metavox_collector.dataset.emit import charts, inventory
from metavox_collector.dataset.emit.licences import offered
from metavox_collector.dataset.facts import DELTA, costs, facts, period, privacy_unit
from metavox_collector.dataset.licences import CHOICE, LICENCES
from metavox_collector.dataset.model import Dataset
from metavox_privacy.budget import epsilon
from metavox_privacy.release import Release
from metavox_privacy.scope import installations

_Z95 = 1.96


def emit(
    dataset: Dataset, files: Mapping[str, bytes], audit: Mapping[str, Any], attacks: Mapping[str, Any]
) -> dict[str, bytes]:
    """Write the page; raises NotAllowed for a release that was not made to be published.

    Args:
        dataset: The release.
        files: Every other file of the pack that is made before it is signed, for their sizes.
        audit: The report of the audit, as JSON.
        attacks: The report of the attacks, as JSON.
    """
    offered(dataset)
    style, script = _resource("page.css"), _resource("page.js")
    text = (
        _environment()
        .get_template("page.html.j2")
        .render(
            dataset=dataset,
            words=words,
            style=Markup(style),  # noqa: S704  # files of ours
            script=Markup(script),  # noqa: S704  # the same
            policy=policy(style, script),
            summary=words.summary(dataset).removeprefix(f"{words.SYNTHETIC} "),
            covered=period(dataset.week, dataset.release.weeks),
            facts=facts(dataset.release, synthetic=dataset.synthetic),
            fleet=installations(dataset.release),
            fleet_error=fleet_error(dataset.release),
            unit=privacy_unit(dataset.release.weeks),
            costs=costs(dataset.statement),
            purposes=" and ".join(f"'{purpose}'" for purpose in dataset.statement.week),
            guess=guess(dataset.release.nano_rho),
            odds=odds(dataset.release.nano_rho),
            delta=DELTA,
            audit=audit,
            attacks=attacks,
            speed=charts.speed(dataset),
            waiting=charts.waiting(dataset),
            cells=charts.cells(dataset),
            shares=charts.shares(dataset),
            caveats=(*words.biases(dataset), *words.limitations(dataset)),
            uses=words.uses(),
            misuses=words.misuses(),
            groups=inventory.groups(files),
            licences=LICENCES,
            choice=CHOICE,
            paths=paths,
        )
    )
    return {paths.PAGE: text.encode()}


def policy(style: str, script: str) -> str:
    """The content policy: this style, this script, and nothing from anywhere."""
    return (
        f"default-src 'none'; style-src '{_hashed(style)}'; script-src '{_hashed(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def fleet_error(release: Release) -> int:
    """Half the width of the 95 % interval of the number of installations a week, which noise alone makes."""
    (table,) = (table for table in release.tables if table.name == "hardware")
    return round(_Z95 * table.count_scale * math.sqrt(len(table.cells)) / release.weeks)


def guess(nano_rho: int) -> float:
    """How often the best attacker is right who guesses whether one unit is in the release, each being as likely.

    Gaussian noise of ρ is μ-Gaussian differential privacy with μ = √(2ρ), and the best test between two Gaussians
    at that distance is right with probability Φ(μ/2) (Dong, Roth, Su 2022).
    """
    return NormalDist().cdf(math.sqrt(2 * nano_rho / 1e9) / 2)


def odds(nano_rho: int) -> float:
    """By which factor the odds of a conclusion can change: e to the ε; infinite where no float holds it."""
    try:
        return math.exp(epsilon(nano_rho, DELTA))
    except OverflowError:
        return math.inf


def _hashed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _resource(name: str) -> str:
    return resources("metavox_collector.dataset.emit").joinpath("templates").joinpath(name).read_text("utf-8")


@cache
def _environment() -> Environment:
    loader = PackageLoader("metavox_collector.dataset.emit")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
