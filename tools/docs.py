"""Write the parts of the documents that derive from the code, between their markers.

``python tools/docs.py`` rewrites them; ``tests/test_docs.py`` fails when they disagree with the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from metavox.cli import app
from metavox.telemetry.others.detection import LIBRARIES, Library
from metavox.telemetry.question.example import Platform, made_up
from metavox.telemetry.upload.readable import as_text
from metavox_collector.observe import Metrics
from metavox_collector.settings import Settings
from metavox_privacy.automation import AUTOMATION
from metavox_privacy.describe import dimensions_table, metrics_table, tables_table
from metavox_privacy.fields import PURPOSES
from metavox_privacy.notice import WORDS, Language, lay_out, notice
from metavox_privacy.retention import RETENTION
from metavox_privacy.schema import SCHEMA

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = datetime(2026, 11, 18, 12, tzinfo=timezone.utc)
TOKEN = bytes(range(32))


def notice_in(language: Language) -> str:
    """All that is on the screen when somebody is asked, at 80 columns."""
    words = WORDS[language]
    questions = (f"{question} {words.choices}" for question in words.questions.values())
    return fenced("\n".join((lay_out(notice(SCHEMA, language)), *questions)))


def verbs() -> str:
    """Each verb with its options and exit codes, as ``--help`` says them."""
    group = get_command(app).commands["telemetry"]
    rows = (
        (
            f"`metavox telemetry {name}`",
            command.help,
            "<br>".join(_options(command.params)),
            command.epilog.removeprefix("Exit: ").rstrip("."),
        )
        for name, command in group.commands.items()
    )
    return table(("Command", "What it does", "Options", "Exit codes"), rows)


def _options(parameters: Iterable[object]) -> Iterator[str]:
    for parameter in parameters:
        takes = "" if parameter.is_flag else f" {parameter.metavar}"
        yield f"`{parameter.opts[0]}{takes}`: {parameter.help}"


def preview() -> str:
    """A report of one made-up request, as ``metavox telemetry preview`` prints it."""
    body = made_up(frozenset(PURPOSES), EXAMPLE, Platform("linux", "amd64"), TOKEN)
    return fenced(as_text(body))


def automation() -> str:
    """The variables by which build and test systems are known, and who sets them."""
    return "; ".join(f"`{name}` ({who})" for name, who in AUTOMATION.items()) + "."


def others() -> str:
    """The libraries whose telemetry ``status`` knows."""
    rows = (
        (f"`{one.distribution}`", one.sends, "<br>".join(f"`{switch}`" for switch in _switches(one)), one.elsewhere)
        for one in sorted(LIBRARIES, key=lambda one: one.distribution)
    )
    return table(("Library", "What it sends", "Off by", "Or by"), rows)


def _switches(library: Library) -> list[str]:
    """What switches a library's telemetry off; for one that sends when asked to, what to ask no more."""
    return [str(switch) for switch in library.off] or [f"unset {switch.variable}" for switch in library.on]


def settings() -> str:
    """Every setting of the collector, its default and what it is for."""
    rows = (
        (f"`METAVOX_COLLECTOR_{name.upper()}`", _default(field.default), field.description)
        for name, field in Settings.model_fields.items()
    )
    return table(("Setting", "Default", "What it is"), rows)


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(_default, value))
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return (
        f"{value:,}"
        if isinstance(value, int) and value >= 10_000
        else f"`{value}`"
        if isinstance(value, (str, Path))
        else f"{value:g}"
    )


def metrics() -> str:
    """Every metric of the collector, as Prometheus is told of it."""
    families = text_string_to_metric_families(Metrics().text().decode())
    rows = (
        (f"`{one.name}{'_total' * (one.type == 'counter')}`", one.type, one.documentation)
        for one in families
        if not one.name.endswith("_created")  # when a process began to count
    )
    return table(("Metric", "Kind", "What it is"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join((cell or "").replace("|", "\\|") for cell in line) + " |" for line in lines)


def fenced(text: str) -> str:
    """Text as it is on a terminal."""
    return f"```text\n{text}\n```"


PARTS: dict[str, Callable[[], str]] = {
    "schema:dimensions": lambda: dimensions_table(SCHEMA),
    "schema:metrics": lambda: metrics_table(SCHEMA),
    "schema:tables": lambda: tables_table(SCHEMA),
    "telemetry:retention": lambda: table(("What", "Where", "How long"), RETENTION),
    "telemetry:verbs": verbs,
    "telemetry:notice:en": lambda: notice_in("en"),
    "telemetry:notice:it": lambda: notice_in("it"),
    "telemetry:preview": preview,
    "telemetry:automation": automation,
    "telemetry:others": others,
    "collector:settings": settings,
    "collector:metrics": metrics,
}


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def filled(text: str) -> str:
    """The text with every marked part replaced by what the code says now."""
    for name, part in PARTS.items():
        if f"<!-- {name} -->" not in text:
            continue
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
        body = f"\n{part()}\n\n"
        text = pattern.sub(lambda match, body=body: match[1] + body + match[2], text)
    return text


def main() -> None:
    """Rewrite whatever differs and say so."""
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
