"""Reads the JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metavox.errors import InvalidCheckpoint


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InvalidCheckpoint when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidCheckpoint(
            f"{path.parent} is no model: it has no {path.name}. A model is a folder with config.json and weights "
            "as safetensors; other formats, such as GGUF, are not read."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidCheckpoint(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise InvalidCheckpoint(f"{path} must hold a JSON object, and holds a {type(data).__name__}.")
    return data
