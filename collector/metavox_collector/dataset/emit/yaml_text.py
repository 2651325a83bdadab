"""YAML as every file of a pack has it."""

from __future__ import annotations

from typing import Any

import yaml


class _Legible(yaml.SafeDumper):
    """Text of several lines stands as it is, and a value that occurs twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Legible.add_representer(str, _text)


def encode(value: Any) -> bytes:
    """UTF-8, in the order given; the same value always gives the same bytes."""
    text: str = yaml.dump(value, Dumper=_Legible, sort_keys=False, allow_unicode=True, width=110)
    return text.encode()
