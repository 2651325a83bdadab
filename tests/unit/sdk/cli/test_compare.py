from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from metavox.cli.compare.chart import ASCII, BLOCKS, chart, duration
from metavox.cli.compare.report import as_lines
from metavox.telemetry.compare.released import parse_release
from metavox.telemetry.compare.standing import Comparison, Own, Times, compare
from metavox.telemetry.hardware import detect
from metavox.telemetry.home.folders import Home
from metavox.telemetry.journal.journal import Journal
from metavox_privacy.schema import SCHEMA
from metavox_privacy.span import Span
from tests.spans import ATTRIBUTES
from tests.unit.sdk.cli.shared import run
from tests.unit.sdk.telemetry.compare.releases import CPU_TINY, as_bytes, cell, document, metric, nothing
from tests.unit.sdk.telemetry.shared import agree

HERE = detect("cpu").model
QUICK = ("--runs", "2", "--input-len", "8", "--output-len", "4", "--device", "cpu", "--dtype", "float32")


def here(**changes: str) -> tuple[str, ...]:
    """This machine's key with other words."""
    words = {"accelerator": str(HERE), "model": "metavox/tiny", "quantization": "float32", "concurrency": "<=1"}
    return tuple((words | changes).values())


def written(folder: Path, *cells: Any, **changes: Any) -> str:
    file = folder / "release.json"
    file.write_bytes(as_bytes(document(*cells, **changes)))
    return str(file)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_who_said_no_compares_with_what_is_run_now_and_nothing_is_kept_of_it(tmp_path: Path):
    home = tmp_path / "home"
    result = run(home, "compare", "--release", written(tmp_path, cell(here())), *QUICK)

    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    said = flat(result.stdout)
    assert f"metavox/tiny on {HERE}, week 2026-W47" in said
    assert (
        "Yours: float32 weights, one at a time; 2 requests run now, prompts of 8 tokens and outputs of 4." in said
    )
    assert "Theirs: float32 weights, one at a time; about 312 installations." in said
    assert (
        len(re.findall(r"Your median request is faster than (?:more than |less than )?\d+ % of theirs\.", said))
        == 2
    )
    assert "Each installation weighs the same" in said
    assert "Not the same" not in said
    assert "\x1b" not in result.stdout
    assert not home.exists()


def test_json_is_one_object_with_both_sides_in_seconds(tmp_path: Path):
    there = written(tmp_path, cell(here(quantization="bfloat16")), synthetic=True)
    result = run(tmp_path, "compare", "--release", there, *QUICK, "--num-seqs", "3", "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert (found["release"]["week"], found["release"]["synthetic"]) == ("2026-W47", True)
    assert (found["own"]["source"], found["own"]["requests"], found["own"]["concurrency"]) == ("run", 6, "2-4")
    assert found["released"]["quantization"] == "bfloat16"
    assert found["same"] is False
    assert found["differences"]["quantization"] == {"own": "float32", "released": "bfloat16"}
    assert set(found["metrics"]) == {"time_to_first_token", "time_per_output_token"}
    for one in found["metrics"].values():
        assert 0 < one["own"]["p50"] <= one["own"]["p90"] < 60
        assert 0 <= one["slower_than_own_p50"] <= 1
        assert set(one["released"]) == {"p50", "p75", "p90", "p95", "p99"}


def test_what_is_run_to_compare_is_never_counted(tmp_path: Path):
    agree(Home(tmp_path, tmp_path), since=datetime.now(timezone.utc) - timedelta(days=1))
    result = run(tmp_path, "compare", "--release", written(tmp_path, cell(here())), *QUICK)

    assert result.exit_code == 0, result.stderr
    assert not (tmp_path / "journal.sqlite3").exists()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal of somebody who said yes a day ago."""
    home = Home(tmp_path, tmp_path)
    agree(home, since=datetime.now(timezone.utc) - timedelta(days=1))
    from metavox.telemetry.contribution import Contribution

    moment = datetime.now(timezone.utc)
    contribution = Contribution(
        lambda: home.consent({}), lambda consent: Journal(home.journal_file, consent, SCHEMA, moment)
    )
    attributes = {**ATTRIBUTES, "hw.model": HERE, "metavox.request.concurrency": 1}
    for _ in range(5):
        contribution.on_span(Span("a", time.time_ns() - 10**9, time.time_ns(), attributes))
    contribution.flush()
    return Journal(home.journal_file, home.consent({}), SCHEMA, moment)


def test_the_journal_of_a_contributor_is_compared_without_running_anything(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("metavox.LLM", lambda *_, **__: pytest.fail("it ran something"))
    there = written(tmp_path, cell(here(quantization="bfloat16")))
    result = run(tmp_path, "compare", "--journal", "--release", there, "--json")

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    (week,) = (str(report.week) for report in journal.reports())
    assert found["own"] == {
        "source": "journal", "week": week, "requests": 5, "accelerator": HERE, "model": "metavox/tiny",
        "quantization": "bfloat16", "concurrency": "<=1",
    }  # fmt: skip
    assert found["same"] is True
    assert found["metrics"]["time_per_output_token"]["own"]["p50"] == pytest.approx(0.004, rel=0.15)
    shown = run(tmp_path, "compare", "--journal", "--release", there)
    assert f"your journal of {week}, 5 requests." in flat(shown.stdout)


def test_a_week_that_was_sent_is_compared_by_its_report(tmp_path: Path, journal: Journal):
    from metavox.telemetry.upload.weekly import preview

    home = Home(tmp_path, tmp_path)
    (shown,) = preview(journal, home.consent({}), SCHEMA, datetime.now(timezone.utc))
    later = shown.report.week.end + timedelta(days=8)
    claimed = journal.claim(later, "https://collector.example", lambda *_: shown.body, force=True)
    assert claimed is not None
    result = run(
        tmp_path, "compare", "--journal", "--model", "metavox/tiny", "--json",
        "--release", written(tmp_path, cell(here())),
    )  # fmt: skip

    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["own"]["requests"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "contributions are off: nobody has been asked"),
        (("--model", "Qwen/Qwen3-0.6B"), "contributions are off"),
        (("--model", "./mine"), "the model is not in the public catalogue"),
    ],
)
def test_without_a_journal_it_says_what_to_do(tmp_path: Path, arguments: tuple[str, ...], words: str):
    result = run(tmp_path / "home", "compare", "--journal", "--release", written(tmp_path), *arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_journal_without_that_model_says_so(tmp_path: Path, journal: Journal):
    result = run(tmp_path, "compare", "--journal", "--model", "Qwen/Qwen3-0.6B", "--release", written(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the journal has no request yet with Qwen/Qwen3-0.6B" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "/home/somebody/mine"), "the model is not in the public catalogue"),
        (("--model", "Qwen/Qwen3-0.6B"), "the release of 2026-W47 has nothing for Qwen/Qwen3-0.6B"),
        (("--input-len", "100000"), "the context is"),
        (("--device", "abacus"), "abacus"),
    ],
)
def test_what_cannot_be_compared_or_run_is_told_in_a_line(tmp_path: Path, arguments: tuple[str, ...], words: str):
    result = run(tmp_path, "compare", "--release", written(tmp_path), *arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("metavox: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_a_device_that_is_not_released_is_told_with_what_is(tmp_path: Path):
    there = written(tmp_path, cell(("NVIDIA H100", "metavox/tiny", "float32", "<=1")))
    result = run(tmp_path, "compare", "--release", there, *QUICK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"nothing for {HERE}, because too few installations contributed" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "http://localhost:1", "--release", "x"), "--url and --release"),
        (("--journal", "--runs", "10"), "--journal runs nothing, so that --runs would say nothing"),
        (("--journal", "--device", "auto"), "so that --device would say nothing"),
        (("--runs", "0"), "--runs"),
        (("--url", "http://collector.example"), "--url: a collector is reached over https"),
        (("--url", "words"), "--url: a collector's address looks like"),
        (("--release", "/nowhere/release.json"), "--release /nowhere/release.json: No such file"),
        (("--release", "/"), "--release /: Is a directory"),
    ],
)
def test_wrong_usage_is_told_and_ends_with_2(tmp_path: Path, arguments: tuple[str, ...], words: str):
    result = run(tmp_path, "compare", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in flat(result.stderr)


def test_without_a_collector_it_says_how_to_name_one(tmp_path: Path):
    result = run(tmp_path, "compare")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "give --url or set METAVOX_COLLECTOR_URL, or give a downloaded file with --release" in result.stderr


@contextmanager
def answering(status: int, body: bytes, seen: list[tuple[str, dict[str, str]]]) -> Iterator[str]:
    """Somebody at this machine's door who answers every request alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, dict(self.headers)))
            self.send_response(status)
            self.send_header("Set-Cookie", "id=somebody")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_request_says_nothing_of_who_asks(tmp_path: Path):
    agree(Home(tmp_path, tmp_path), since=datetime.now(timezone.utc) - timedelta(days=1))
    seen: list[tuple[str, dict[str, str]]] = []
    with answering(200, as_bytes(document(cell(here()))), seen) as url:
        for home, environment in ((tmp_path, {}), (tmp_path / "other", {"OTEL_EXPORTER_OTLP_HEADERS": "k=secret"})):
            result = run(home, "compare", "--url", url, *QUICK, **environment)
            assert result.exit_code == 0, result.stderr
        assert run(tmp_path, "compare", *QUICK, METAVOX_COLLECTOR_URL=url).exit_code == 0

    assert seen[0] == seen[1] == seen[2]
    path, headers = seen[0]
    assert path == "/v1/releases/latest"
    assert set(headers) == {"Host", "Accept", "Accept-Encoding", "User-Agent", "Connection"}
    assert headers["User-Agent"] == "metavox"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"{}", "has no public release yet"),
        (503, b"\x1b[2J", "answered with status 503 and no release; try again later"),
        (302, b"", "answered with status 302"),
        (200, b"<html>\x1b[2J", "what the collector answered is no release that can be compared: it is not JSON"),
        (200, as_bytes(document(format=2)), "update metavox"),
        (200, b" " * (4 * 2**20 + 1), "no release came from"),
    ],
)
def test_a_collector_that_has_nothing_good_is_told_in_a_line(tmp_path: Path, status: int, body: bytes, words: str):
    with answering(status, body, []) as url:
        result = run(tmp_path, "compare", "--url", url)

    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_a_collector_that_is_away_is_told(tmp_path: Path):
    result = run(tmp_path, "compare", "--url", "http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no release came from http://127.0.0.1:1: ConnectionRefusedError" in result.stderr


def test_nobody_is_asked_where_the_file_is_given(tmp_path: Path):
    seen: list[Any] = []
    there = written(tmp_path, cell(here()))
    with answering(200, b"", seen) as url:
        result = run(tmp_path, "compare", "--release", there, *QUICK, METAVOX_COLLECTOR_URL=url)
    assert result.exit_code == 0, result.stderr
    assert seen == []


def a_comparison(*, ttft: float = 0.01, **changes: Any) -> Comparison:
    times = {"time_to_first_token": Times(ttft, 1.5 * ttft), "time_per_output_token": Times(0.002, 0.003)}
    release = parse_release(as_bytes(document(**changes)))
    return compare(Own(CPU_TINY, times, 1234), release, SCHEMA)


def shown(comparison: Comparison, columns: int, *, ascii_only: bool = False) -> list[str]:
    words = "1,234 requests run now, prompts of 128 tokens and outputs of 64"
    return [line.plain for line in as_lines(comparison, words, columns, ascii_only=ascii_only)]


@pytest.mark.parametrize("columns", [28, 40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("ttft", [0.00001, 0.01, 0.02, 500.0])
def test_no_line_is_longer_than_the_terminal_and_no_figure_is_cut(columns: int, ascii_only: bool, ttft: float):
    lines = shown(a_comparison(ttft=ttft), columns, ascii_only=ascii_only)

    assert max(map(len, lines)) <= columns
    assert flat(" ".join(lines)).count("your p50") == 2
    assert duration(ttft) in flat(" ".join(lines))
    assert any(
        line.split()[:1] == ["theirs"] and line.split()[1:] == ["19.9", "ms", "37.4", "ms"] for line in lines
    )
    assert not ascii_only or "\n".join(lines).isascii()


def test_where_there_is_no_room_for_a_picture_the_figures_are_told_without():
    lines = shown(a_comparison(), 22)
    assert max(map(len, lines)) <= 22
    assert not set("".join(lines)) & set(BLOCKS.levels[1:])
    assert {"yours p50 10.0 ms", "yours p90 15.0 ms", "theirs p50 19.9 ms", "theirs p90 37.4 ms"} <= set(lines)


def test_the_picture_is_highest_where_most_of_theirs_are_and_marks_where_we_are():
    standing = a_comparison(ttft=0.02).standings["time_to_first_token"]
    drawn = chart(standing, 60, BLOCKS)
    top, marker = drawn[0], drawn[BLOCKS.rows + 2]
    middle = marker.index("▲")

    assert marker[middle:] == "▲ your p50"
    assert top[middle] == "█"
    assert all(len(line) <= 60 for line in drawn)
    left, right = min(i for i, c in enumerate(top) if c != " "), max(i for i, c in enumerate(top) if c != " ")
    assert left < middle < right


def test_the_axis_names_round_times_that_do_not_touch():
    for name in ("time_to_first_token", "time_per_output_token"):
        for columns in (28, 40, 80):
            drawn = chart(a_comparison().standings[name], columns, ASCII)
            line, labels = drawn[ASCII.rows : ASCII.rows + 2]
            found = re.findall(r"([0-9.]+) (m?s)", labels)
            assert line.count("+") == len(found) >= 2
            assert {number.strip("0.") for number, _ in found} <= {"1", "1.5", "2", "3", "4", "5", "7"}


def test_a_machine_far_outside_is_marked_at_the_edge():
    slow = chart(a_comparison(ttft=1000.0).standings["time_to_first_token"], 40, ASCII)
    fast = chart(a_comparison(ttft=0.000001).standings["time_to_first_token"], 40, ASCII)
    assert slow[ASCII.rows + 3].endswith("your p90 '")
    assert fast[ASCII.rows + 2].index("^") <= 1


def test_one_bucket_alone_is_no_wall():
    one = metric("time_to_first_token", 0.02, width=0.05)
    standing = compare(
        Own(CPU_TINY, {"time_to_first_token": Times(0.02, 0.02)}, 1),
        parse_release(as_bytes(document(cell(time_to_first_token=one)))),
        SCHEMA,
    ).standings["time_to_first_token"]
    assert " " in chart(standing, 40, ASCII)[0].strip("\n")[:5]


@pytest.mark.parametrize(
    ("ttft", "words"),
    [(0.00001, "faster than more than 99 % of"), (0.02, "faster than 50 % of"), (99, "less than 1 %")],
)
def test_a_part_is_never_said_to_be_all_or_none(ttft: float, words: str):
    assert words in flat(" ".join(shown(a_comparison(ttft=ttft), 80)))


def test_a_sandboxs_figures_are_never_shown_without_saying_so():
    for columns in (30, 80):
        said = flat(" ".join(shown(a_comparison(synthetic=True), columns)))
        assert "SYNTHETIC: this release comes from a sandbox." in said
        assert "of the simulated ones." in said
        assert "of theirs." not in said


def test_what_is_not_the_same_is_told_in_words():
    there = cell((*CPU_TINY[:2], "bfloat16", "2-4"), time_per_output_token=nothing())
    said = flat(" ".join(shown(a_comparison(cells=[there]), 80)))
    assert "Not the same quantization: yours is float32, and the nearest that was released is bfloat16." in said
    assert "Not the same concurrency: yours is <=1, and the nearest that was released is 2-4." in said
    assert "Time per output token: the noise hides it in the release." in said


@pytest.mark.parametrize(("terminal", "styled"), [(True, True), (False, False)])
def test_there_is_colour_on_a_terminal_alone(terminal: bool, styled: bool):
    out = io.StringIO()
    screen = Console(
        file=out, force_terminal=terminal, soft_wrap=True, color_system="standard" if terminal else None
    )
    for line in as_lines(a_comparison(), "run now", 80, ascii_only=False):
        screen.print(line)
    assert ("\x1b[" in out.getvalue()) is styled


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0002, "0.20 ms"),
        (0.01234, "12.3 ms"),
        (0.1234, "123 ms"),
        (0.9999, "1.00 s"),
        (1.5, "1.50 s"),
        (3600, "3,600 s"),
    ],
)
def test_times_have_three_digits(seconds: float, words: str):
    assert duration(seconds) == words
