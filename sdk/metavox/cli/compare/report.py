"""A comparison for a person and for a program."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.text import Text

from metavox.cli.compare.chart import ASCII, BLOCKS, LEAST_WIDTH, chart, duration
from metavox.telemetry.compare.released import DIMENSIONS, QUANTILES
from metavox.telemetry.compare.standing import Comparison, Standing

TITLES = {"time_to_first_token": "Time to first token", "time_per_output_token": "Time per output token"}
SYNTHETIC = (
    "SYNTHETIC: this release comes from a sandbox. Its installations were simulated; it measures nothing, and says "
    "nothing of this machine."
)
THEIRS = (
    "Theirs are the requests that people made, of all lengths, with noise that protects each of them. Each "
    "installation weighs the same, however many requests it made."
)


def as_document(comparison: Comparison, about_own: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON object; times in seconds."""
    release, own, cell = comparison.release, comparison.own, comparison.cell
    return {
        "release": {"week": str(release.week), "synthetic": release.synthetic, "note": release.note},
        "own": {**about_own, "requests": own.requests, **_named(own.key)},
        "released": {"contributors": cell.contributors, **_named(cell.key)},
        "same": not comparison.differences,
        "differences": {
            name: {"own": ours, "released": theirs} for name, (ours, theirs) in comparison.differences.items()
        },
        "metrics": {name: _measured(standing) for name, standing in comparison.standings.items()},
    }


def as_lines(comparison: Comparison, own_words: str, columns: int, *, ascii_only: bool) -> list[Text]:
    """Lines of at most ``columns`` characters where no word is longer; styled for a terminal that shows styles.

    Args:
        comparison: What is told.
        own_words: Where this machine's times are from.
        columns: Of the terminal.
        ascii_only: Whether the terminal has no other letters.
    """
    release, own, cell = comparison.release, comparison.own, comparison.cell
    accelerator, model, *_ = cell.key
    lines = _wrapped(f"{model} on {accelerator}, week {release.week}", columns, "bold")
    if release.synthetic:
        lines += _wrapped(SYNTHETIC, columns, "bold yellow")
    lines += _wrapped(f"Yours: {_kind(own.key)}; {own_words}.", columns)
    lines += _wrapped(f"Theirs: {_kind(cell.key)}; {_installations(cell.contributors)}.", columns)
    for name, (ours, theirs) in comparison.differences.items():
        lines += _wrapped(
            f"Not the same {name}: yours is {ours}, and the nearest that was released is {theirs}.",
            columns,
            "bold yellow",
        )
    for name in TITLES:
        lines.append(Text(""))
        standing = comparison.standings.get(name)
        if standing is None:
            why = "the noise hides it in the release" if name in own.times else "this machine's was not measured"
            lines += _wrapped(f"{TITLES[name]}: {why}.", columns)
        else:
            lines += _standing(TITLES[name], standing, columns, ascii_only=ascii_only)
            whose = "the simulated ones" if release.synthetic else "theirs"
            words = f"Your median request is faster than {_part(standing.slower)} of {whose}."
            lines += _wrapped(words, columns)
    return [*lines, Text(""), *_wrapped(THEIRS, columns)]


def _standing(title: str, standing: Standing, columns: int, *, ascii_only: bool) -> list[Text]:
    glyphs = ASCII if ascii_only else BLOCKS
    drawn = chart(standing, columns, glyphs)
    styles = ["cyan"] * glyphs.rows + ["dim"] * 2 + ["bold"] * 2
    picture = [Text(line, style) for line, style in zip(drawn, styles if drawn else [], strict=True)]
    theirs = standing.theirs.quantiles
    rows = [
        ("", "p50", "p90"),
        ("yours", duration(standing.own.p50), duration(standing.own.p90)),
        ("theirs", *(_or_noisy(theirs[name]) for name in ("p50", "p90"))),
    ]
    table = [f"{head:6}  {middle:>9}  {slow:>9}" for head, middle, slow in rows]
    if columns < LEAST_WIDTH:
        table = [f"{head} {rows[0][at]} {values[at - 1]}" for head, *values in rows[1:] for at in (1, 2)]
    return [*_wrapped(title, columns, "bold"), *picture, *map(Text, table)]


def _measured(standing: Standing) -> dict[str, Any]:
    return {
        "unit": "s",
        "own": asdict(standing.own),
        "released": {name: standing.theirs.quantiles[name] for name in QUANTILES},
        "slower_than_own_p50": standing.slower,
    }


def _named(key: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(DIMENSIONS, key, strict=True))


def _kind(key: tuple[str, ...]) -> str:
    _, _, quantization, concurrency = key
    return f"{quantization} weights, {'one' if concurrency == '<=1' else concurrency} at a time"


def _installations(number: int) -> str:
    return f"about {number:,} installations"


def _or_noisy(seconds: float | None) -> str:
    return "too noisy" if seconds is None else duration(seconds)


def _part(share: float) -> str:
    """A part in whole percent, for the noise does not let more be said; never all of them and never none."""
    percent = round(100 * share)
    return "less than 1 %" if percent < 1 else "more than 99 %" if percent > 99 else f"{percent} %"


def _wrapped(text: str, columns: int, style: str = "") -> list[Text]:
    lines = textwrap.wrap(text, max(columns, 1), break_on_hyphens=False, break_long_words=False)
    return [Text(line, style) for line in lines]
