"""StructuredOutputsParams: the form that a request's output must have, in vLLM's names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metavox.errors import InvalidRequest, Neutral, known_keywords, shown

# vLLM's arguments that we do not have.
NEUTRAL: Neutral = {
    "grammar": (None,),
    "structural_tag": (None,),
    "disable_fallback": (False, True),
    "disable_additional_properties": (False,),
    "whitespace_pattern": (None,),
}
FORMS = ("json", "regex", "choice", "json_object")


@known_keywords(NEUTRAL)
@dataclass(frozen=True, kw_only=True)
class StructuredOutputsParams:
    """The form of the output; exactly one of the first four.

    Args:
        json: a JSON schema: a dictionary, its text, or a pydantic model class. Kept as its text.
        regex: a regular expression that the whole output matches.
        choice: the output is one of these strings.
        json_object: the output is any JSON object.
        disable_any_whitespace: write JSON with no whitespace but what is inside of strings.

    Raises:
        InvalidRequest: none of the forms is given, or several, or one is of the wrong type. What is wrong with
            the schema or expression itself is told when the request is made.
        UnknownArgument: a keyword that is not in this list.
    """

    json: str | dict[str, Any] | type | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    json_object: bool = False
    disable_any_whitespace: bool = False

    def __post_init__(self) -> None:
        self._check_flags()
        given = [name for name in FORMS if getattr(self, name) not in (None, False)]
        if len(given) != 1:
            raise InvalidRequest(
                f"StructuredOutputsParams takes exactly one of {', '.join(FORMS)}, and was given "
                f"{' and '.join(given) or 'none'}."
            )
        if self.disable_any_whitespace and given[0] not in ("json", "json_object"):
            raise InvalidRequest(f"StructuredOutputsParams.disable_any_whitespace is for JSON, not for {given[0]}.")
        if self.json is not None:
            object.__setattr__(self, "json", _schema_text(self.json))
        if self.regex is not None and not (isinstance(self.regex, str) and self.regex):
            raise InvalidRequest(
                f"StructuredOutputsParams.regex must be a string that is not empty, and is {shown(self.regex)}."
            )
        if self.choice is not None:
            object.__setattr__(self, "choice", _choices(self.choice))

    def _check_flags(self) -> None:
        for name in ("json_object", "disable_any_whitespace"):
            if not isinstance(getattr(self, name), bool):
                value = shown(getattr(self, name))
                raise InvalidRequest(f"StructuredOutputsParams.{name} must be True or False, and is {value}.")


def _schema_text(schema: object) -> str:
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    try:
        value = json.loads(schema) if isinstance(schema, str) else schema
        if isinstance(value, Mapping):
            return json.dumps(dict(value))
    except (TypeError, ValueError, RecursionError):
        pass
    raise InvalidRequest(
        "StructuredOutputsParams.json must be a JSON schema: a dictionary, its text, or a pydantic model class, "
        f"and is {shown(schema)}."
    )


def _choices(choice: object) -> tuple[str, ...]:
    listed = tuple(choice) if isinstance(choice, Sequence) and not isinstance(choice, (str, bytes)) else ()
    if not listed or not all(isinstance(text, str) and text for text in listed):
        raise InvalidRequest(
            f"StructuredOutputsParams.choice must be a list of strings that are not empty, and is {shown(choice)}."
        )
    return listed
