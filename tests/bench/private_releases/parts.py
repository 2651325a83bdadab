"""Results by part in one JSON file that is written after each part, so that a run which is cut loses one part."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


class Parts:
    """What was measured, by the name of the part; a run adds to what the file has or replaces it.

    Args:
        path: The JSON file; what is in it stays.
        versions: The libraries measured with, noted at each part.
        resume: Whether a part that the file has is taken from there instead of measured again.

    Raises:
        ValueError: the file is not one of parts.
    """

    def __init__(self, path: Path, versions: Mapping[str, str], *, resume: bool) -> None:
        self._path, self._versions, self._resume = path, dict(versions), resume
        found = json.loads(path.read_text()) if path.exists() else {"parts": {}}
        if not isinstance(found, dict) or not isinstance(found.get("parts"), dict):
            raise ValueError(f"{path} has no parts; move it away and run again")
        self._parts: dict[str, dict[str, Any]] = found["parts"]

    def result(self, name: str, measure: Callable[[], Any]) -> Any:
        """The part's result, measured and written now unless it was there to resume from."""
        if not (self._resume and name in self._parts):
            start = time.perf_counter()
            result = measure()
            self._parts[name] = {
                "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - start, 1),
                "versions": self._versions,
                "result": result,
            }
            self._write()
        return self._parts[name]["result"]

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".partial")
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(part)}" for name, part in self._parts.items())
        beside.write_text('{"parts": {\n' + lines + "\n}}\n")
        os.replace(beside, self._path)
