"""``docs/dataset.md`` for somebody who has a pack and nothing else: every example runs, and every number holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from metavox_collector.dataset.columns import columns_of
from metavox_collector.dataset.emit import page
from metavox_collector.proof import keys
from metavox_privacy.budget import epsilon
from metavox_privacy.cells import weight
from metavox_privacy.schema import SCHEMA
from metavox_privacy.smoothing import KERNEL, RADIUS, SPREAD
from tests.integration import packed
from tests.unit.collector.packs import KEY

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "dataset.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module", params=["full", "coarse"])
def pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.written(tmp_path_factory.mktemp("packs"), packed.whole(request.param))


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: re.findall(r"import (\w+)", block)[-1])
def test_its_python_runs_in_a_packs_directory_without_this_project(pack: Path, tmp_path: Path, block: str) -> None:
    script = tmp_path / "example.py"
    guard = "import sys\nfor name in ('metavox_collector', 'metavox_privacy'): sys.modules[name] = None\n"
    script.write_text(guard + block, encoding="utf-8")
    home = {**os.environ, "HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, str(script)], cwd=pack, env=home, capture_output=True, check=False)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert len(said.splitlines()) >= 1
    assert "WRONG" not in said
    assert "False" not in said
    if "bucket_edges" in block:
        assert said.count("█") == pytest.approx(200, abs=20)


def test_its_headline_chart_has_a_line_for_every_cell_with_a_figure(pack: Path) -> None:
    [block] = [block for block in blocks("python") if "━" in block]
    done = subprocess.run([sys.executable, "-c", block], cwd=pack, capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    found = duckdb.sql(
        f"SELECT 1 / p50 FROM '{pack}/data/performance.parquet' "  # noqa: S608
        "WHERE metric = 'time_per_output_token' AND p50 IS NOT NULL ORDER BY p50"
    ).fetchall()
    assert len(found) > 1
    assert [f"{value:.1f}" for (value,) in found] == [re.findall(r"━ +([\d.]+) \(", line)[0] for line in lines]
    assert min(line.index("━") for line in lines) == 0
    assert max(line.rindex("━") for line in lines) == 40


@pytest.mark.parametrize("block", blocks("sql"), ids=lambda block: block.split()[1])
def test_its_sql_runs_in_a_packs_directory(pack: Path, monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    monkeypatch.chdir(pack)
    assert duckdb.sql(block).fetchall()


def test_its_query_over_several_packs_finds_those_that_were_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [block for block in blocks("text") if "SELECT week" in block]
    packed.written(tmp_path, packed.whole()).rename(tmp_path / "metavox-2026-W47-publish")
    monkeypatch.chdir(tmp_path)
    assert duckdb.sql(block.replace("NOT synthetic", "synthetic")).fetchall()
    assert not duckdb.sql(block).fetchall()


def test_its_verify_command_passes_a_pack_that_was_drawn(tmp_path: Path) -> None:
    pack = packed.written(tmp_path, packed.drawn())
    [line] = re.findall(r"^metavox-collector (verify .*)$", TEXT, re.MULTILINE)
    verb, _, option, _ = line.split()
    program = [sys.executable, "-m", "metavox_collector"]
    arguments = [verb, str(pack), option, keys.key_id(KEY.public_key())]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_column_stands_in_it() -> None:
    for table in SCHEMA.tables:
        for column in columns_of(table, SCHEMA):
            plain = re.sub(r"^(p75|p90|p95|p99|mean|share)_(low|high)$", r"p50_\2", column.name)
            assert f"`{plain}`" in TEXT, column.name


def test_every_file_that_it_names_is_in_a_pack() -> None:
    named = re.findall(
        r"`((?:data|csv|proof|gdpr|licences|listing)/[\w./-]+|[\w.]+\.(?:json|yaml|ttl|html|md))`", TEXT
    )
    assert len(set(named)) > 15
    assert [name for name in named if name not in packed.whole()] == []


def test_its_figures_of_privacy_are_what_the_code_computes() -> None:
    said = " ".join(TEXT.split())
    for nano_rho in (14_500_000, 17_000_000):
        assert f"ρ = {nano_rho / 1e9:g}" in said
        assert f"{epsilon(nano_rho, 1e-8):.3g}" in said
    assert f"at most {100 * page.guess(14_500_000):.1f} % of the cases" in said
    assert f"({', '.join(str(weight(k, SCHEMA.units)) for k in range(1, SCHEMA.cells_per_report + 1))})" in said
    assert f"public weights ({', '.join(map(str, KERNEL))}) / {SPREAD}" in said
    assert f"at most {SCHEMA.cells_per_report} cells" in said
    assert (2 * RADIUS + 1, f"{sum(k * k for k in KERNEL) ** 0.5 / SPREAD:.2f}") == (9, "0.43")
    assert "0.43 of what it was" in said
