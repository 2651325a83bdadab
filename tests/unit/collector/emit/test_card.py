from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from huggingface_hub import DatasetCard

from metavox_collector.dataset.checks import card as check
from metavox_collector.dataset.emit import card
from metavox_collector.dataset.model import Dataset
from tests.unit.collector.emit.datasets import example_dataset
from tests.unit.collector.emit.packs import Pack, pack_of, replaced, written

CARD = "README.md"

# What mlcroissant 1.1 asks of rdflib 7.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


def test_the_hub_reads_its_front_matter(dataset: Dataset, pack: Pack) -> None:
    read = DatasetCard(pack[CARD].decode())
    assert read.data.license == "cdla-permissive-2.0"
    assert read.data.pretty_name == dataset.title
    assert read.data.size_categories == ["n<1K"]
    configs = {config["config_name"]: config["data_files"] for config in read.data.to_dict()["configs"]}
    assert configs == {table.name: f"data/{table.name}.parquet" for table in dataset.tables}
    assert read.text.lstrip().startswith(f"# {dataset.title}")


def test_what_it_shows_first_are_the_medians_of_the_most_common_cells(dataset: Dataset, pack: Pack) -> None:
    text, table = pack[CARD].decode(), dataset.table("performance")
    cell = table.released.cells[0]
    [line] = [line for line in text.splitlines() if line.startswith(f"| {cell.key[0]} | {cell.key[1]} | ")][:1]
    key = dict(zip(table.released.dimensions, cell.key, strict=True))
    rows = [row for row in table.rows if key.items() <= row.items()]
    [ttft] = [row for row in rows if row["metric"] == "time_to_first_token"]
    assert f"| {cell.contributors:,} |" in line
    assert f"{float(str(ttft['p50'])) * 1000:.3g} ms (" in line


def test_a_figure_that_noise_hides_is_a_dash() -> None:
    dataset = example_dataset(cells=2, weeks=4)
    text = card.emit(dataset)[CARD].decode()
    hidden = [r for r in dataset.table("performance").rows if r["p50"] is None and r["share"] is None]
    assert ("| – |" in text) == any(r["metric"] in card.HEADLINE_METRICS for r in hidden)
    assert hidden, "the fleet is too large for this test"


@pytest.mark.parametrize("language", ["python", "sql"])
def test_its_examples_run(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, language: str
) -> None:
    monkeypatch.chdir(written(pack, tmp_path))
    blocks = re.findall(rf"```{language}\n(.*?)```", pack[CARD].decode(), re.DOTALL)
    for block in blocks:
        if language == "sql":
            assert duckdb.sql(block).fetchall()
        else:
            known: dict[str, Any] = {}
            exec(block, known)  # noqa: S102  # what the card tells a reader to run
            assert list(known.get("records", known.get("rows", known.get("ttft"))))
    assert len(blocks) == {"python": 3, "sql": 1}[language]
    assert "NVIDIA H200" in capsys.readouterr().out or language == "sql"


def test_what_was_emitted_passes(pack: Pack) -> None:
    assert check.validate(pack) == []


def front(change: Callable[[Any], object]) -> Callable[[Pack], Pack]:
    """Another front matter."""

    def other(pack: Pack) -> Pack:
        _, matter, body = pack[CARD].decode().split("---\n", 2)
        value = yaml.safe_load(matter)
        change(value)
        return {**pack, CARD: f"---\n{yaml.safe_dump(value)}---\n{body}".encode()}

    return other


def without(words: str) -> Callable[[Pack], Pack]:
    return lambda pack: {**pack, CARD: pack[CARD].replace(words.encode(), b"")}


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != CARD}, "missing"),
    "no front matter": (lambda p: {**p, CARD: b"# MetaVox\n"}, "no YAML between two lines"),
    "no YAML": (lambda p: {**p, CARD: b"---\na: [\n---\n"}, "its front matter is no YAML"),
    "a list": (lambda p: {**p, CARD: b"---\n- a\n---\n"}, "is not of type 'object'"),
    "licence not there": (
        lambda p: {k: v for k, v in p.items() if k != "licences/commercial.md"},
        "sends its reader to licences/commercial.md, which is not in the pack",
    ),
    "no proof there": (
        lambda p: {k: v for k, v in p.items() if not k.startswith("proof/")},
        "sends its reader to proof/, which is not in the pack",
    ),
    "no licence": (front(lambda f: f.pop("license")), "'license' is a required property"),
    "other licence": (front(lambda f: f.update(license="mit")), "'cdla-permissive-2.0' was expected"),
    "no configs": (front(lambda f: f.pop("configs")), "'configs' is a required property"),
    "a config gone": (front(lambda f: f["configs"].pop()), "configs are not the tables"),
    "another file": (front(lambda f: f["configs"][0].update(data_files="x.parquet")), "configs are not the tables"),
    "no default": (front(lambda f: f["configs"][0].pop("default")), "not one of configs is the default"),
    "wrong size": (front(lambda f: f.update(size_categories=["1K<n<10K"])), "size_categories are 1K<n<10K"),
    "no measurement": (front(lambda f: f["tags"].remove("synthetic")), "tags do not say whether"),
    "other title": (front(lambda f: f.update(pretty_name="x")), "pretty_name is not the title"),
    "no banner": (without("> **Synthetic:"), "does not say at its head whether the release is synthetic"),
    "no coverage": (without("Coverage:"), "does not say the caveat 'Coverage:'"),
    "no phantoms": (without("Phantoms:"), "does not say the caveat 'Phantoms:'"),
    "no self-selection": (without("Self-selection:"), "does not say the caveat 'Self-selection:'"),
    "another ε": (lambda p: replaced(p, CARD, "ε = 0.9", "ε = 0.1"), "does not say ε"),
    "no commercial licence": (without("`LicenseRef-MetaVox-Commercial-1.0`"), "the licence LicenseRef-MetaVox"),
    "another release": (
        lambda p: {**p, CARD: re.sub(rb"[0-9a-f]{64}", b"0" * 64, p[CARD])},
        "does not say the release's SHA-256",
    ),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(pack: Pack, which: str) -> None:
    change, said = BROKEN[which]
    problems = check.validate(change(pack))
    assert any(said in problem and problem.startswith(CARD) for problem in problems), problems


def test_a_release_without_a_cell_has_a_card_without_a_headline() -> None:
    pack = pack_of(example_dataset(cells=0))
    assert "At a glance" not in pack[CARD].decode()
    assert check.validate(pack) == []
