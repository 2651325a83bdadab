"""Reading a pack's files when nothing about them is sure yet: what cannot be read is a problem with a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, wraps
from importlib.resources import files
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

Pack: TypeAlias = Mapping[str, bytes]
"""The files of a pack by their path."""

_LONGEST = 200


class Unusable(Exception):
    """A file is missing, cannot be read, or has another form; nothing more can be said of it.

    Attributes:
        problems: Why, a line each, with the file's path in front.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = list(problems)


def content(pack: Pack, path: str) -> bytes:
    """A file's bytes; raises Unusable if there is no such file."""
    if path not in pack:
        raise Unusable(f"{path}: missing")
    return pack[path]


def text(pack: Pack, path: str) -> str:
    """A file's text; raises Unusable if it is missing or no UTF-8."""
    try:
        return content(pack, path).decode()
    except UnicodeDecodeError as error:
        raise Unusable(f"{path}: not UTF-8 at byte {error.start}") from None


def document(pack: Pack, path: str, schema: str) -> dict[str, Any]:
    """A JSON file of the form that ``schemas/`` states; raises Unusable that names what is otherwise."""
    try:
        value = json.loads(text(pack, path), parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path}: no JSON: {error}") from None
    return formed(path, value, schema)


def formed(path: str, value: Any, schema: str) -> dict[str, Any]:
    """A value of the form that ``schemas/`` states; raises Unusable that names what is otherwise."""
    errors = sorted(_validator(schema).iter_errors(value), key=lambda error: error.json_path)
    if errors:
        raise Unusable(*(f"{path}: {_said(error)}" for error in errors))
    return dict(value)


def _said(error: ValidationError) -> str:
    """Where and what, short enough for a line."""
    message = error.message if len(error.message) <= _LONGEST else f"{error.message[:_LONGEST]}…"
    return f"{error.json_path}: {message}"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name a reader would see either, so there may not be two."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name is there twice in one object")
    return value


@cache
def _validator(schema: str) -> Draft202012Validator:
    stated = files("metavox_collector.dataset.checks").joinpath("schemas").joinpath(f"{schema}.json")
    return Draft202012Validator(json.loads(stated.read_text(encoding="utf-8")))


def telling(check: Callable[[Pack], list[str]]) -> Callable[[Pack], list[str]]:
    """What a check finds; of a file that cannot be read at all, that."""

    @wraps(check)
    def told(pack: Pack) -> list[str]:
        try:
            return check(pack)
        except Unusable as error:
            return error.problems

    return told
