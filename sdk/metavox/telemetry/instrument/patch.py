"""Methods of somebody else's class, wrapped and given back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called with the original, the instance, and the arguments without it; gives what the original gives."""


def wrap(owner: type, name: str, wrapper: Wrapper) -> Callable[[], None]:
    """Put a wrapper around a method. Its name, signature and documentation stay what they were.

    Returns:
        What gives the original back. Where somebody has wrapped ours meanwhile, theirs stays, and ours does nothing.
    """
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


def all_of(*restores: Callable[[], None]) -> Callable[[], None]:
    """One call for several, the last patch first."""

    def restore() -> None:
        for each in reversed(restores):
            each()

    return restore
