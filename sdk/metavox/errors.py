"""What MetaVox raises. Every message says what is wrong and what to do about it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
# Keywords that we do not have, each with the values that ask for what happens anyway.
Neutral = Mapping[str, tuple[object, ...]]


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
    """The model computed NaN or infinity, mostly because float16 cannot hold its numbers.

    `outputs` are those of all requests of the call, in order; the failed ones end with finish_reason "error".
    """

    def __init__(self, message: str, outputs: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.outputs = list(outputs)


class EngineLost(MetaVoxError, RuntimeError):
    """The engine is used where it is no more: after ``close()``, or in a fork of the process that has it."""


class UnknownArgument(MetaVoxError, TypeError):
    """A call that does not fit the signature: a keyword that does not exist, too few or too many arguments."""


def shown(value: object) -> str:
    """`value` for a message: its repr, cut to 80 characters; Python refuses that of an int of 5,000 digits."""
    try:
        text = repr(value)
    except ValueError:
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def unknown_names(
    where: str, given: Iterable[str], known: Iterable[str], instead: Mapping[str, str] = MappingProxyType({})
) -> str | None:
    """The complaint about the names in `given` that are not in `known`, or None if all are known.

    `instead` has names that other libraries use, with what is written here.
    """
    known = list(known)
    unknown = [name for name in given if name not in known]
    if not unknown:
        return None
    close = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if unknown[0] in instead:
        hint = f" Write {instead[unknown[0]]} instead."
    return f"{where} does not know {', '.join(map(repr, unknown))}.{hint} It knows: {', '.join(known)}."


def known_keywords(
    neutral: Neutral, instead: Mapping[str, str] = MappingProxyType({})
) -> Callable[[type[T]], type[T]]:
    """Class decorator: `known_arguments` for ``__init__``."""

    def decorate(cls: type[T]) -> type[T]:
        cls.__init__ = known_arguments(cls.__name__, neutral, instead)(cls.__init__)  # type: ignore[method-assign]
        return cls

    return decorate


def known_arguments(
    where: str,
    neutral: Neutral = MappingProxyType({}),
    instead: Mapping[str, str] = MappingProxyType({}),
    more: Iterable[str] = (),
) -> Callable[[F], F]:
    """Method decorator: arguments that do not fit the signature raise UnknownArgument with a suggestion.

    A keyword of `neutral` is left out where its value is neutral, and refused where it is not. `instead` has
    other libraries' keywords, with what is written here. `more` are those that a ``**`` takes.
    """

    def decorate(method: F) -> F:
        signature = inspect.signature(method)
        named = [name for name, one in signature.parameters.items() if one.kind is not one.VAR_KEYWORD]
        known = [*named[1:], *more]

        @functools.wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            kwargs = _without_neutral(where, kwargs, neutral, instead)
            complaint = unknown_names(where, kwargs, known, instead)
            if complaint:
                raise UnknownArgument(complaint)
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise UnknownArgument(f"{where}: {error}. It knows: {', '.join(known)}.") from None
            return method(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate


def _without_neutral(
    where: str, given: dict[str, Any], neutral: Neutral, instead: Mapping[str, str]
) -> dict[str, Any]:
    for name in [name for name in given if name in neutral]:
        if given[name] not in neutral[name]:
            allowed = " or ".join(map(repr, neutral[name]))
            advice = f"write {instead[name]} instead" if name in instead else f"give {allowed}, or leave it out"
            raise UnknownArgument(f"{where}: {name} = {shown(given[name])} is not supported; {advice}.")
    return {name: value for name, value in given.items() if name not in neutral}
