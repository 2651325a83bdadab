"""Numbers and lists as a caller gives them, read as Python's own or refused."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, SupportsIndex, TypeVar

from metavox.errors import InvalidRequest, shown

N = TypeVar("N", int, float)
LARGEST = 2**63 - 1  # what a tensor and a span can hold


def as_int(value: object) -> int | None:
    """An integer of any library as an int; None for everything else, bools among it."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        return operator.index(value)
    except TypeError:  # torch's and numpy's arrays of something else have __index__ too
        return None


def as_float(value: object) -> float | None:
    """A finite real number of any library as a float; None for everything else, bools among it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def within(value: N | None, low: float, high: float) -> N | None:
    """`value` if it is from `low` to `high`, else None."""
    return value if value is not None and low <= value <= high else None


def stop_strings(stop: object) -> tuple[str, ...]:
    """SamplingParams.stop as a tuple."""
    if stop is None:
        return ()
    stops = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, Sequence) else (stop,)
    if not all(isinstance(text, str) and text for text in stops):
        raise InvalidRequest(f"SamplingParams.stop must be one or more non-empty strings, and is {shown(stop)}.")
    return stops


def token_ids(name: str, ids: object) -> tuple[int, ...]:
    """A list of token ids, for SamplingParams' argument `name`, as a tuple."""
    if ids is None:
        return ()
    listed = _listed(ids)
    tokens = (None,) if listed is None else tuple(as_int(token) for token in listed)
    valid = tuple(token for token in tokens if token is not None and token >= 0)
    if len(valid) < len(tokens):
        raise InvalidRequest(f"SamplingParams.{name} must be a list of token ids, and is {shown(ids)}.")
    return valid


def _listed(value: object) -> Sequence[Any] | None:
    return value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else None


def logit_bias(bias: object) -> dict[int, float] | None:
    """SamplingParams.logit_bias by ascending id, None if there is none."""
    if bias is None:
        return None
    pairs = sorted(bias.items()) if isinstance(bias, Mapping) and None not in map(as_int, bias) else [(-1, 0)]
    read = {operator.index(token): within(as_float(value), -100, 100) for token, value in pairs}
    valid = {token: value for token, value in read.items() if token >= 0 and value is not None}
    if len(valid) < len(pairs):
        raise InvalidRequest(
            "SamplingParams.logit_bias must be a dictionary of token ids with numbers from -100 to 100, and is "
            f"{shown(bias)}."
        )
    return valid or None


def bad_words(words: object) -> tuple[str | tuple[int, ...], ...] | None:
    """SamplingParams.bad_words as a tuple, None if there are none."""
    if words is None:
        return None
    listed = _listed(words)
    read = (None,) if listed is None else tuple(_bad_word(word) for word in listed)
    if not all(read):
        raise InvalidRequest(
            "SamplingParams.bad_words must be a list of strings that are not blank, or of lists of token ids, and "
            f"is {shown(words)}."
        )
    return tuple(word for word in read if word) or None


def _bad_word(word: object) -> str | tuple[int, ...] | None:
    if isinstance(word, str):
        return word if word.strip() else None
    ids = tuple(as_int(token) for token in _listed(word) or ())
    valid = tuple(token for token in ids if token is not None and token >= 0)
    return valid if len(valid) == len(ids) else None
