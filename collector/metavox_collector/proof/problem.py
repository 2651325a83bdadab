"""One thing that is wrong with a pack."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong, and where.

    Attributes:
        file: The path inside the pack.
        says: What is wrong with it, in words.
    """

    file: str
    says: str

    def __str__(self) -> str:
        return f"{self.file}: {self.says}"
