"""The proof for a person: what was promised, what was drawn, who tried to break it, and how to check all of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from metavox_collector.dataset.facts import DELTA, period
from metavox_collector.dataset.model import Dataset
from metavox_collector.proof import paths


def words(
    dataset: Dataset, parameters: Mapping[str, Any], audit: Mapping[str, Any], attacks: Mapping[str, Any]
) -> bytes:
    """Markdown; every number in it is from the three reports or the release."""
    text = (
        _environment()
        .get_template("proof.md.j2")
        .render(
            dataset=dataset,
            covered=period(dataset.week, dataset.release.weeks),
            parameters=parameters,
            paid=parameters["composition"],
            bounds=parameters["bounds"],
            audit=audit,
            attacks=attacks,
            delta=DELTA,
            paths=paths,
        )
    )
    return text.encode()


@cache
def _environment() -> Environment:
    loader = PackageLoader("metavox_collector.proof")
    # Markdown, not HTML, and all that is filled in are numbers and words of ours.
    return Environment(  # noqa: S701
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
