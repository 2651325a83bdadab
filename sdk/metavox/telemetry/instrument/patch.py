"""Methods of somebody else's class, wrapped and given back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called with the original, the instance, and the arguments without it; gives what the original gives."""


def wrap(owner: type, wrappers: Mapping[str, Wrapper]) -> Callable[[], None]:
    """Put wrappers around methods of a class. Their names, signatures and documentation stay what they were.

    Returns:
        What gives the originals back. Where somebody has wrapped ours meanwhile, theirs stays; ours does nothing.

    Raises:
        AttributeError: The class has no such method; then none is wrapped.
    """
    places = {name: _place(owner, name) for name in wrappers}
    restores = [_wrap(places[name], name, wrapper) for name, wrapper in wrappers.items()]

    def restore() -> None:
        for each in reversed(restores):
            each()

    return restore


def _place(owner: type, name: str) -> type:
    """The class that defines a method, which may be one that the class inherits from."""
    for place in owner.__mro__:
        if name in place.__dict__:
            return place
    raise AttributeError(f"{owner.__name__} has no {name}")


def _wrap(owner: type, name: str, wrapper: Wrapper) -> Callable[[], None]:
    original = owner.__dict__[name]
    is_on = True

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(original, self, args, kwargs) if is_on else original(self, *args, **kwargs)

    def restore() -> None:
        nonlocal is_on
        is_on = False
        if owner.__dict__.get(name) is wrapped:
            setattr(owner, name, original)

    setattr(owner, name, wrapped)
    return restore
