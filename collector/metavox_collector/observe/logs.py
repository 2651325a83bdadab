"""What is told to the operator while it runs: a line on stderr for each event, as text or as JSON.

The standard library's logging suffices: there are a dozen messages, all ours, and no context that a library would
have to carry from line to line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["text", "json"]


def configure(how: Format) -> None:
    """Write warnings and errors of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if how == "json" else logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how bad, who says it, what, and where in the code it went wrong."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        fields = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)
