"""Markdown from the templates beside this file; what a template names and nobody gives is an error."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: object) -> str:
    """Fill in a template of this package.

    Raises:
        jinja2.UndefinedError: if the template names a value that is not given.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    loader = PackageLoader("metavox_collector.dataset.emit")
    # Markdown, not HTML: the only free text in it is the publisher's, and a person reads it as text.
    return Environment(  # noqa: S701
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
