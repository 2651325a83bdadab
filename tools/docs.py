"""Write the parts of the documents that derive from the code, between their markers.

``python tools/docs.py`` rewrites them; ``tests/test_docs.py`` fails when they disagree with the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from metavox_privacy.describe import dimensions_table, metrics_table, tables_table
from metavox_privacy.schema import SCHEMA

ROOT = Path(__file__).resolve().parent.parent

PARTS: dict[str, Callable[[], str]] = {
    "schema:dimensions": lambda: dimensions_table(SCHEMA),
    "schema:metrics": lambda: metrics_table(SCHEMA),
    "schema:tables": lambda: tables_table(SCHEMA),
}


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def filled(text: str) -> str:
    """The text with every marked part replaced by what the code says now."""
    for name, part in PARTS.items():
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
