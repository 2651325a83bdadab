"""The dataset card: front matter that the Hugging Face hub can read, and words that no release may do without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from metavox_collector.dataset.checks.dictionary import dictionary
from metavox_collector.dataset.checks.links import broken
from metavox_collector.dataset.checks.reading import Pack, Unusable, formed, telling, text
from metavox_collector.dataset.licences import LICENCES
from metavox_collector.dataset.paths import CARD

_SIZES = {"n<1K": 1_000, "1K<n<10K": 10_000, "10K<n<100K": 100_000, "100K<n<1M": 1_000_000, "1M<n<10M": 10_000_000}
_CAVEATS = ("Self-selection:", "Coverage:", "Phantoms:", "A cell that is missing is not zero")


@telling
def validate(pack: Pack) -> list[str]:
    """What is wrong with the card, a line each."""
    front, body = _parts(text(pack, CARD))
    described = dictionary(pack)
    return [
        f"{CARD}: {problem}"
        for problem in (*_front(front, described), *_body(body, described), *broken(body, pack))
    ]


def _parts(card: str) -> tuple[dict[str, Any], str]:
    """The front matter and the body; raises Unusable."""
    opening, _, rest = card.partition("---\n")
    front, mark, body = rest.partition("\n---\n")
    if opening or not mark:
        raise Unusable(f"{CARD}: no YAML between two lines of three hyphens at its head")
    try:
        value = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unusable(f"{CARD}: its front matter is no YAML: {str(error).splitlines()[0]}") from None
    return formed(CARD, value, "card"), body


def _front(front: dict[str, Any], described: dict[str, Any]) -> Iterator[str]:
    if front["pretty_name"] != described["title"]:
        yield "pretty_name is not the title"
    if ("synthetic" in front["tags"]) != described["release"]["synthetic"]:
        yield "tags do not say whether the release is synthetic"
    rows = sum(table["rows"] for table in described["tables"])
    if next((name for name, most in _SIZES.items() if rows < most), None) != front["size_categories"][0]:
        yield f"size_categories are {front['size_categories'][0]}, with {rows} rows"
    configs = [(config["config_name"], config["data_files"]) for config in front["configs"]]
    if configs != [(table["name"], table["file"]) for table in described["tables"]]:
        yield "configs are not the tables with their Parquet files"
    if sum(config.get("default", False) for config in front["configs"]) != 1:
        yield "not one of configs is the default"


def _body(body: str, described: dict[str, Any]) -> Iterator[str]:
    release, privacy = described["release"], described["privacy"]
    needed = {
        "the title": f"# {described['title']}",
        "the release's SHA-256": privacy["release_sha256"],
        "the head of the ledger": privacy["ledger_head"],
        "ρ": f"ρ = {release['rho']:g}",
        "ε": f"ε = {release['epsilon']:.3g}",
        "the publisher": described["publisher"]["name"],
        **{f"the licence {licence.identifier}": f"`{licence.identifier}`" for licence in LICENCES},
        **{f"the caveat '{caveat}'": caveat for caveat in _CAVEATS},
        **{f"the file {table['file']}": f"`{table['file']}`" for table in described["tables"]},
    }
    yield from (f"does not say {what}" for what, words in needed.items() if words not in body)
    if ("> **Synthetic:" in body) != release["synthetic"]:
        yield "does not say at its head whether the release is synthetic"
