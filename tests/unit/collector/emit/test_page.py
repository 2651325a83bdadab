from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from scipy.stats import norm

from metavox_collector.dataset.checks import page as check
from metavox_collector.dataset.emit import charts, inventory, page, tracks
from metavox_collector.dataset.emit.tracks import LogAxis, Mark
from metavox_collector.dataset.model import Dataset, Publisher
from metavox_collector.errors import NotAllowed
from metavox_privacy.fields import Scope
from metavox_privacy.schema import SCHEMA
from tests.unit.collector import packs
from tests.unit.collector.emit.datasets import NANO_RHO, example_dataset
from tests.unit.collector.emit.packs import Pack, pack_of, replaced

PAGE = "index.html"
LATER = dict.fromkeys(("proof/proof.md", "proof/signing_key.pem", "signature.dsse.json"), b"not ours")


def with_page(dataset: Dataset) -> dict[str, bytes]:
    """The pack, its browser, and the files of a whole pack that the browser leads to."""
    files = {**pack_of(dataset), **LATER}
    audit, attacks = packs.audit_report(dataset.release, SCHEMA), packs.attack_report(dataset.release, SCHEMA)
    return {**files, **page.emit(dataset, files, audit, attacks)}


@pytest.fixture(scope="module")
def browsed(dataset: Dataset) -> Pack:
    return with_page(dataset)


def text(pack: Pack) -> str:
    """What a reader sees, without styles and scripts."""
    seen = re.sub(r"<(style|script)>.*?</\1>", "", pack[PAGE].decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", seen)).split())


def rows_of(pack: Pack, which: str) -> list[str]:
    """The body's rows of the table with this attribute."""
    [table] = re.findall(rf"<table[^>]*{which}[^>]*>.*?</table>", pack[PAGE].decode(), re.DOTALL)
    return re.findall(r"<tr>.*?</tr>", table.split("<tbody>")[1], re.DOTALL)


def test_the_same_release_makes_the_same_page(dataset: Dataset, browsed: Pack) -> None:
    assert with_page(dataset)[PAGE] == browsed[PAGE]


@pytest.mark.parametrize("scope", ["full", "coarse"])
@pytest.mark.parametrize("weeks", [1, 4])
@pytest.mark.parametrize("synthetic", [True, False])
def test_a_page_of_every_kind_of_release_passes(scope: Scope, weeks: int, *, synthetic: bool) -> None:
    made = with_page(example_dataset(scope=scope, weeks=weeks, synthetic=synthetic, cells=3))
    assert check.validate(made) == []
    assert ("Synthetic: these figures" in text(made)) == synthetic


def test_a_release_without_a_cell_says_so() -> None:
    made = with_page(example_dataset(cells=0))
    assert check.validate(made) == []
    assert "No cell was published" in text(made)
    assert text(made).count("No published cell has such a figure") == 2


def test_what_nobody_agreed_to_publish_has_no_page() -> None:
    with pytest.raises(NotAllowed, match="only a release for 'publish'"):
        page.emit(example_dataset(purpose="improve", cells=1), {}, {}, {})


def test_words_of_the_publisher_and_names_of_files_are_text_and_never_elements(dataset: Dataset) -> None:
    publisher = Publisher(
        "<script>alert(1)</script>", 'A "quoted" street & co', None, "a'b@example.org", None, None
    )
    named = replace(dataset, publisher=publisher)
    content = with_page(named)[PAGE].decode()
    assert content.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in content
    assert "A &#34;quoted&#34; street &amp; co" in content
    odd = page.emit(dataset, {'proof/"><img src=x>': b""}, *reports(dataset))[PAGE].decode()
    assert "<img" not in odd


def reports(dataset: Dataset) -> tuple[dict[str, object], dict[str, object]]:
    return packs.audit_report(dataset.release, SCHEMA), packs.attack_report(dataset.release, SCHEMA)


def test_tokens_per_second_are_one_over_the_time_per_token_and_their_interval_turns_round(
    dataset: Dataset, browsed: Pack
) -> None:
    cell = dataset.table("performance").released.cells[0]
    key = dict(zip(dataset.table("performance").released.dimensions, cell.key, strict=True))
    [row] = [
        row
        for row in dataset.table("performance").rows
        if key.items() <= row.items() and row["metric"] == "time_per_output_token"
    ]
    low, value, high = (1 / float(str(row[name])) for name in ("p50_high", "p50", "p50_low"))
    said = f"{charts.number(value)} ({charts.number(low)} to {charts.number(high)})"
    assert low < value < high
    chart = charts.speed(dataset)
    assert chart is not None
    assert [said in str(one.values) for one in chart.rows].count(True) >= 1
    assert said in text(browsed)


def test_every_published_cell_has_a_row_with_its_figures(dataset: Dataset, browsed: Pack) -> None:
    rows = rows_of(browsed, 'id="cells-table"')
    cells = dataset.table("performance").released.cells
    assert [row.count("<td") + row.count("<th") for row in rows] == [4 + 1 + 5] * len(cells)
    for row, cell in zip(rows, cells, strict=True):
        assert all(html.escape(part) in row for part in cell.key)
        assert f'data-value="{cell.contributors}"' in row


def test_every_metric_of_the_schema_has_a_column() -> None:
    for scope in ("full", "coarse"):
        (declared,) = (table for table in SCHEMA.in_scope(scope) if table.name == "performance")
        shown = charts.cells(example_dataset(scope=scope, cells=1)).figures  # type: ignore[arg-type]
        words = {"time_to_first_token": "first token", "time_per_output_token": "tokens per second"}
        words |= {"peak_device_memory": "peak memory", "error_rate": "failed requests"}
        assert all(any(words[metric] in name for name in shown) for metric in declared.metrics)


def test_a_figure_that_noise_hides_is_a_dash_and_sorts_as_none() -> None:
    dataset = example_dataset(cells=9, weeks=4)
    hidden = [
        row for row in dataset.table("performance").rows if row["metric"] == "error_rate" and not row["share"]
    ]
    dashes = [cell for row in charts.cells(dataset).rows for cell in row[2] if cell.value == "–"]
    assert hidden
    assert dashes
    assert all((cell.number, cell.interval) == ("", "hidden by noise") for cell in dashes)


def test_more_cells_than_a_phone_can_open_are_left_to_the_files(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "MOST_CELLS", 2)
    made = with_page(dataset)
    total = len(dataset.table("performance").released.cells)
    assert len(rows_of(made, 'id="cells-table"')) == 2
    assert f"These are the 2 most common of {total} cells; all are in data/performance.parquet" in text(made)


def test_a_chart_says_how_many_combinations_it_leaves_out(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = charts.waiting(dataset)
    monkeypatch.setattr(charts, "CHART_ROWS", 1)
    short = charts.waiting(dataset)
    assert whole is not None
    assert short is not None
    assert (len(short.rows), short.left_out, whole.left_out) == (1, len(whole.rows) - 1, 0)


def test_charts_have_the_best_first(dataset: Dataset) -> None:
    speed, waiting = charts.speed(dataset), charts.waiting(dataset)
    assert speed is not None
    assert waiting is not None
    places = [float(re.findall(r'<svg aria-hidden="true" x="([\d.]+)%', str(row.drawing))[0]) for row in speed.rows]
    assert places == sorted(places, reverse=True)
    assert len(places) > 1
    places = [
        float(re.findall(r'<svg aria-hidden="true" x="([\d.]+)%', str(row.drawing))[0]) for row in waiting.rows
    ]
    assert places == sorted(places)


def test_bars_have_the_interval_that_the_counts_noise_makes(dataset: Dataset) -> None:
    for shares in charts.shares(dataset):
        error = 1.96 * shares.table.released.count_scale
        for bar, cell in zip(shares.bars, shares.table.released.cells, strict=False):
            assert f"{cell.contributors:,} ± {error:,.0f}" in bar.words
            start, end = map(float, re.findall(r'x1="([\d.]+)%" x2="([\d.]+)%"', str(bar.drawing))[0])
            [width] = map(float, re.findall(r'<rect[^>]*width="([\d.]+)%"', str(bar.drawing)))
            assert start <= width <= end <= 100
            most = shares.table.released.cells[0].contributors + error
            assert end - width == pytest.approx(100 * error / most, abs=0.02)


@pytest.mark.parametrize(("low", "high"), [(8e-3, 2.0), (210.0, 420.0), (1.05, 2.1), (1e-6, 1e6), (3.0, 900.0)])
def test_an_axis_has_a_few_round_ticks_in_their_places(low: float, high: float) -> None:
    axis = LogAxis(low, high)
    assert 2 <= len(axis.ticks) <= 7
    assert all(low <= tick <= high for tick in axis.ticks)
    assert [*axis.ticks] == sorted(axis.ticks)
    assert axis.place(math.sqrt(low * high)) == pytest.approx(50)
    assert (axis.place(low), axis.place(high)) == pytest.approx((4, 96))


def test_an_axis_holds_every_end_of_an_interval_and_is_never_of_no_length() -> None:
    axis = tracks.axis_of([Mark(0, 5.0, 5.0, 5.0)])
    assert axis.high / axis.low == pytest.approx(2)
    assert axis.place(5.0) == pytest.approx(50)
    axis = tracks.axis_of([Mark(0, 1.0, 2.0, 3.0), Mark(1, 50.0, 60.0, 70.0)])
    assert 4 < axis.place(1.0) < axis.place(70.0) < 96


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.00804, "8.04 ms"), (0.9996, "1.00 s"), (0.0999, "99.9 ms"), (0.09998, "100 ms"), (12.0, "12.0 s")],
)
def test_seconds_have_three_digits(value: float, said: str) -> None:
    assert charts.seconds(value) == said


def test_an_intervals_unit_is_said_once_if_it_is_one() -> None:
    assert charts.between("7.95 ms", "8.12 ms") == "7.95 to 8.12 ms"
    assert charts.between("990 ms", "1.01 s") == "990 ms to 1.01 s"
    assert charts.between("3.0", "4.0") == "3.0 to 4.0"


def test_how_often_the_best_attacker_guesses_right_is_what_gaussian_differential_privacy_says(
    browsed: Pack,
) -> None:
    mu = math.sqrt(2 * NANO_RHO / 1e9)
    grid = [n / 1000 for n in range(-5000, 5001)]
    best = max((norm.cdf(cut) + norm.sf(cut - mu)) / 2 for cut in grid)
    assert page.guess(NANO_RHO) == pytest.approx(best, abs=1e-6)
    assert f"in at most {100 * best:.1f} %" in text(browsed)


def test_every_file_of_a_whole_pack_is_listed_with_its_size_and_its_purpose() -> None:
    whole = packs.pack()
    listed = [one for group in inventory.groups(whole) for one in group.files]
    assert sorted(one.path for one in listed) == sorted(whole)
    assert {one.path for one in listed if not one.purpose} == {PAGE, "signature.dsse.json"}
    said = text(whole)
    for one in listed:
        assert one.path == PAGE or one.path in said
        assert (
            not one.purpose or one.path == "proof/signing_key.pem" or f"{one.path} {one.size} {one.purpose}" in said
        )
    assert check.validate(whole) == []


def test_sizes_are_said_in_words() -> None:
    assert [inventory.size(n) for n in (0, 1023, 1024, 1536, 5 * 2**20)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
    ]


def swapped(old: str, new: str) -> Callable[[Pack], Pack]:
    return lambda pack: replaced(pack, PAGE, old, new)


def dropped(pattern: str) -> Callable[[Pack], Pack]:
    def without(pack: Pack) -> Pack:
        left, count = re.subn(pattern, "", pack[PAGE].decode(), flags=re.DOTALL)
        assert count
        return {**pack, PAGE: left.encode()}

    return without


BROKEN: Mapping[str, tuple[Callable[[Pack], Pack], str]] = {
    "missing": (lambda p: {k: v for k, v in p.items() if k != PAGE}, "missing"),
    "no UTF-8": (lambda p: {**p, PAGE: b"\xff"}, "not UTF-8"),
    "nothing": (lambda p: {**p, PAGE: b""}, "its content policy is not"),
    "no policy": (dropped(r"<meta http-equiv[^>]*>"), "its content policy is not"),
    "a weaker policy": (swapped("default-src &#39;none&#39;", "default-src *"), "its content policy is not"),
    "another script": (swapped('"use strict";', '"use strict";fetch("x");'), "its content policy is not"),
    "another style": (swapped(":root {", ":root{"), "its content policy is not"),
    "a second script": (swapped("<main", "<script></script><main"), "its content policy is not"),
    "a late policy": (
        lambda p: {
            **p,
            PAGE: re.sub(rb"(<meta http-equiv[^>]*>)(.*?</style>)", rb"\2\1", p[PAGE], flags=re.DOTALL),
        },
        "comes after what it is for",
    ),
    "an image": (swapped("<main", '<img alt="" src="x"><main'), "has an element 'img'"),
    "a handler": (swapped("<body>", '<body onload="x()">'), "has the attribute 'onload'"),
    "a style": (swapped("<body>", '<body style="color:red">'), "has the attribute 'style'"),
    "a style sheet": (swapped('href="data:,"', 'href="https://example.org"'), "asks for https://example.org"),
    "elsewhere": (swapped("<body>", '<meta http-equiv="refresh" content="0"><body>'), "sends its reader elsewhere"),
    "a link out": (swapped('href="README.md"', 'href="https://example.org"'), "links to https://example.org"),
    "a link to nowhere": (swapped('href="#privacy"', 'href="#nowhere"'), "links to #nowhere"),
    "a file that is not listed": (lambda p: {**p, "data/more.parquet": b""}, "does not list data/more.parquet"),
    "a file that is not there": (
        lambda p: {k: v for k, v in p.items() if k != "croissant.json"},
        "links to croissant",
    ),
    "no caption": (dropped(r"<caption id.*?</caption>"), "1 of its elements 'table' have no caption"),
    "an empty caption": (
        swapped("Performance by accelerator, model, quantization, concurrency</c", "</c"),
        "no caption",
    ),
    "no drawing's name": (
        dropped(r"(?<=<svg class=\"track\" role=\"img\")[^>]*><title>.*?</title>"),
        "elements 'svg'",
    ),
    "a drawing that is no image": (
        swapped('class="track" role="img"', 'class="track"'),
        "neither named nor hidden",
    ),
    "no language": (swapped('<html lang="en">', "<html>"), "does not say its language"),
    "no end": (swapped("</main>", ""), "does not end where it should"),
    "two headings": (swapped("<main", "<h1>x</h1><main"), "its headings are not one h1"),
    "a heading left out": (swapped("<h2 id=", "<h4></h4><h2 id="), "its headings are not one h1"),
    "an id twice": (swapped('<p class="lead"', '<p id="privacy" class="lead"'), "'privacy' is there twice"),
    "another title": (swapped("<h1>MetaVox", "<h1>Meta"), "its heading is not the title"),
    "no banner": (dropped(r'<p class="banner".*?</p>'), "whether the release is synthetic"),
    "no self-selection": (dropped("Self-selection:"), "the caveat 'Self-selection:'"),
    "no coverage": (dropped("Coverage:"), "the caveat 'Coverage:'"),
    "no phantoms": (dropped("Phantoms:"), "the caveat 'Phantoms:'"),
    "another ε": (dropped("ε = 0.9"), "does not say ε"),
    "another ρ": (dropped("ρ = 0.01"), "does not say ρ"),
    "no licence": (dropped("CDLA-Permissive-2.0"), "the licence CDLA-Permissive-2.0"),
    "no publisher": (dropped("Example .{0,30}GmbH"), "does not say the publisher"),
    "another release": (dropped("[0-9a-f]{64}"), "does not say the release's SHA-256"),
}


@pytest.mark.parametrize("which", BROKEN)
def test_what_was_changed_is_named(browsed: Pack, which: str) -> None:
    assert check.validate(browsed) == []
    change, said = BROKEN[which]
    problems = check.validate(change(browsed))
    assert any(said in problem and problem.startswith(f"{PAGE}: ") for problem in problems), problems
