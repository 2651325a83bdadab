"""Files of the pack that a document in prose sends its reader to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metavox_collector.dataset.checks.reading import Pack

_NAMED = re.compile(r"[`(]((?:csv|data|gdpr|licences|listing|proof)/[\w./-]*)[`)]")


def broken(words: str, pack: Pack) -> Iterator[str]:
    """One line for each file or folder that is named in backquotes or linked to, and is not in the pack."""
    for path in dict.fromkeys(_NAMED.findall(words)):
        if path not in pack and not (path.endswith("/") and any(name.startswith(path) for name in pack)):
            yield f"sends its reader to {path}, which is not in the pack"
