"""What the supervisor and a worker agree on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is told, as a line of JSON on its standard input, which stays open as long as it is wanted.

    Attributes:
        config: The TOML file that was named on the command line.
        given: The settings that were, by name.
        now: A pretended moment, in ISO 8601.
        descriptors: The files that a worker is born with: ``public``, the socket for senders; ``monitor``, the one
            for the operator's monitoring, if there is one; ``counts``, the memory in which admission counts for all
            workers; and ``ready``, to which a byte is written once the worker serves.
    """

    config: str | None
    given: Mapping[str, Any]
    now: str | None
    descriptors: Mapping[str, int] = field(default_factory=dict)

    def with_descriptors(self, **more: int) -> Task:
        """The same, with more files."""
        return replace(self, descriptors={**self.descriptors, **more})

    def line(self) -> bytes:
        """As it is told."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: str) -> Task:
        """As it was told."""
        return cls(**json.loads(line))
