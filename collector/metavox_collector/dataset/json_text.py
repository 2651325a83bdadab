"""JSON as the files of a pack have it."""

from __future__ import annotations

import json
from typing import Any


def legible(value: Any) -> bytes:
    """UTF-8, indented by one, keys as they come, a line feed last; raises ValueError for NaN or infinities."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
