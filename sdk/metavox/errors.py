"""What MetaVox raises. Every message says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class MetaVoxError(Exception):
    """The base of every error MetaVox raises on purpose."""


class MissingExtra(MetaVoxError, ImportError):
    """A part of MetaVox is used whose optional dependencies are not installed."""


class ModelNotFound(MetaVoxError):
    """The model is no bundled name, no folder, and could not be fetched from the hub."""


class UnsupportedModel(MetaVoxError):
    """The checkpoint asks for an architecture or a feature that the engine does not have."""


class InvalidCheckpoint(MetaVoxError):
    """The checkpoint's files are missing, damaged, or disagree with its own config.json."""


class InvalidArgument(MetaVoxError, ValueError):
    """A setting of ``LLM(...)`` is out of range or does not fit the model or the machine."""


class InvalidRequest(MetaVoxError, ValueError):
    """A prompt or a sampling parameter cannot be honoured."""


class NonFiniteLogits(MetaVoxError, ArithmeticError):
    """The model computed NaN or infinity, mostly because float16 cannot hold its numbers."""


class UnknownArgument(MetaVoxError, TypeError):
    """A call that does not fit the signature: a keyword that does not exist, too few or too many arguments."""


def shown(value: object) -> str:
    """`value` for a message: its repr, cut to 80 characters; Python refuses that of an int of 5,000 digits."""
    try:
        text = repr(value)
    except ValueError:
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def unknown_names(where: str, given: Iterable[str], known: Iterable[str]) -> str | None:
    """The complaint about the names in `given` that are not in `known`, or None if all are known."""
    known = list(known)
    unknown = [name for name in given if name not in known]
    if not unknown:
        return None
    close = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{where} does not know {', '.join(map(repr, unknown))}.{hint} It knows: {', '.join(known)}."


def known_keywords(cls: type[T]) -> type[T]:
    """Class decorator: arguments that do not fit ``__init__`` raise UnknownArgument with a suggestion."""
    cls.__init__ = known_arguments(cls.__name__)(cls.__init__)  # type: ignore[method-assign]
    return cls


def known_arguments(where: str) -> Callable[[F], F]:
    """Method decorator: arguments that do not fit the signature raise UnknownArgument with a suggestion."""

    def decorate(method: F) -> F:
        signature = inspect.signature(method)
        known = list(signature.parameters)[1:]

        @functools.wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            complaint = unknown_names(where, kwargs, known)
            if complaint:
                raise UnknownArgument(complaint)
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise UnknownArgument(f"{where}: {error}. It knows: {', '.join(known)}.") from None
            return method(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate
