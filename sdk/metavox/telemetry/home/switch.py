"""The switch with which a program forces contributions off for itself. There is none that forces them on."""

from __future__ import annotations

_forced_off = False


def force_off() -> None:
    """Off from now on, in this process and those it forks, whatever anybody answered."""
    global _forced_off  # the process has one switch
    _forced_off = True


def is_forced_off() -> bool:
    """Whether the program has switched contributions off."""
    return _forced_off
