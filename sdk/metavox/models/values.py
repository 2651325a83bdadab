"""Reads the values of config.json by name and type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metavox.errors import InvalidCheckpoint, shown
from metavox.values import LARGEST, as_float, as_int

RawConfig = Mapping[str, Any]


def positive(raw: RawConfig, name: str, default: int | None = None, most: int = LARGEST) -> int:
    """The positive integer `name`; missing or null gives the default, or an error."""
    value = raw.get(name)
    value = default if value is None else value
    number = as_int(value)
    if number is None or number < 1:
        raise InvalidCheckpoint(f"config.json: {name} must be a positive integer, and is {shown(value)}.")
    if number > most:
        raise InvalidCheckpoint(f"config.json: {name} is {shown(number)}, and can be at most {most}.")
    return number


def positive_float(raw: RawConfig, name: str, default: float | None = None) -> float:
    """The positive number `name`; missing or null gives the default, or an error."""
    value = raw.get(name)
    value = default if value is None else value
    number = as_float(value)
    if number is None or number <= 0:
        raise InvalidCheckpoint(f"config.json: {name} must be a positive number, and is {shown(value)}.")
    return number


def optional_float(raw: RawConfig, name: str) -> float | None:
    """The positive number `name`, or None where it is missing or null."""
    return None if raw.get(name) is None else positive_float(raw, name)


def positive_floats(raw: RawConfig, name: str, count: int) -> tuple[float, ...]:
    """The list `name` of `count` positive numbers."""
    values = raw.get(name)
    if not isinstance(values, list) or len(values) != count:
        raise InvalidCheckpoint(f"config.json: {name} must be a list of {count} numbers, and is {shown(values)}.")
    return tuple(positive_float({name: value}, name) for value in values)


def flag(raw: RawConfig, name: str, default: bool = False) -> bool:
    """True or false; missing or null gives the default."""
    value = raw.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidCheckpoint(f"config.json: {name} must be true or false, and is {shown(value)}.")
    return default if value is None else value


def section(raw: RawConfig, name: str) -> Mapping[str, Any]:
    """The object `name`; missing or null gives an empty one."""
    value = raw.get(name) or {}
    if not isinstance(value, Mapping):
        raise InvalidCheckpoint(f"config.json: {name} must be an object, and is {shown(value)}.")
    return value
