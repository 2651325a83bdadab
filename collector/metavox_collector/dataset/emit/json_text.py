"""JSON as every file of a pack has it."""

from __future__ import annotations

import json
from typing import Any


def encode(value: Any) -> bytes:
    """UTF-8, an indent of one, a line feed at the end; raises ValueError for NaN and infinities."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
