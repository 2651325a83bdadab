"""A real collector, its newest release, and ``metavox compare`` as a person runs it; and a person's deletion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from metavox.telemetry.compare.released import parse_release
from metavox.telemetry.hardware import detect
from metavox.telemetry.upload.uploader import Address, Deleted, Gone, Refused, delete, fetch_release
from metavox_privacy.schema import SCHEMA
from metavox_privacy.wire import encode
from tests.integration.collector.test_service import (
    OVER,
    nothing_is_left_running,  # noqa: F401  # a fixture
    partial_of,
    run,
    start,
)
from tests.spans import example_report, example_span

PLENTY = {f"METAVOX_COLLECTOR_{name}_NANO_RHO": "10000000000" for name in ("PUBLISH", "IMPROVE")}
PLENTY["METAVOX_COLLECTOR_YEARLY_CAP_NANO_RHO"] = "50000000000"
PLENTY["METAVOX_COLLECTOR_SCOPE"] = "full"
MAIN = "import sys; sys.argv[0] = 'metavox'; from metavox.cli import main; main()"
QUICK = ("--runs", "2", "--input-len", "16", "--output-len", "8", "--device", "cpu", "--dtype", "float32")


def metavox(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("METAVOX_", "COLUMNS"))}
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        capture_output=True, text=True, timeout=120, env=clean | {"METAVOX_HOME": str(home), "COLUMNS": "80"},
    )  # fmt: skip


def test_from_a_real_collectors_release_to_a_comparison(tmp_path):
    store, home = tmp_path / "collector", tmp_path / "home"
    store.mkdir()
    running = start(store, "--sandbox", "--now", OVER, **PLENTY)
    address, tokens = Address.parse(running.url), [bytes([n]) * 32 for n in range(1, 81)]
    here = {"hw__model": detect("cpu").model, "metavox__request__concurrency": 1}
    spans = [example_span(**here, metavox__model__quantization="float32")]
    reports = [example_report(*spans, token=token, synthetic=True) for token in tokens]
    assert partial_of(running.post(encode(reports, SCHEMA))) == (0, "")

    assert fetch_release(address) == Refused(404)
    early = metavox(home, "compare", "--url", running.url)
    assert (early.returncode, early.stdout) == (1, "")
    assert early.stderr == (
        f"metavox: {running.url} has no public release yet; it has one once a week is closed there\n"
    )

    assert delete(tokens[0], address) == Deleted()
    assert delete(tokens[0], address) == Gone()
    again = partial_of(running.post(encode(reports[:1], SCHEMA)))
    assert again == (1, "not taken: the report was deleted (1 report)")

    closed = run("close", "--db", running.db, "--week", "2026-W47", "--now", OVER, **PLENTY)
    assert closed.returncode == 0, closed.stderr
    assert delete(tokens[1], address) == Gone()
    data = fetch_release(address)
    assert isinstance(data, bytes)
    (cell,) = [found for found in parse_release(data).cells if found.key[0] == here["hw__model"]]
    assert 70 < cell.contributors < 90

    shown = metavox(home, "compare", "--url", running.url, *QUICK)
    assert (shown.returncode, shown.stderr) == (0, ""), shown.stderr
    words = " ".join(shown.stdout.split())
    assert "SYNTHETIC: this release comes from a sandbox." in words
    assert words.count("Your median request is faster than") == 2
    assert max(map(len, shown.stdout.splitlines())) <= 80

    file = tmp_path / "release.json"
    file.write_bytes(data)
    offline = metavox(home, "compare", "--release", str(file), *QUICK, "--json")
    assert offline.returncode == 0, offline.stderr
    found = json.loads(offline.stdout)
    assert (found["release"]["synthetic"], found["same"]) == (True, True)
    # The reports' own request took 4 ms a token.
    assert 0.003 < found["metrics"]["time_per_output_token"]["released"]["p50"] < 0.005
    assert not home.exists()
    assert running.stop() == (0, "", "")
