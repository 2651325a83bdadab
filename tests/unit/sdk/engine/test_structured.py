"""StructuredOutputsParams takes exactly one form, and refuses the rest by name."""

import json

import pytest
from pydantic import BaseModel

from metavox import StructuredOutputsParams
from metavox.errors import InvalidRequest, UnknownArgument


class Person(BaseModel):
    name: str
    age: int


def test_a_schema_may_be_a_dictionary_its_text_or_a_pydantic_model():
    schema = Person.model_json_schema()
    given = [StructuredOutputsParams(json=form) for form in (schema, json.dumps(schema), Person)]
    assert given[0] == given[1] == given[2]
    assert json.loads(given[0].json) == schema
    assert len({hash(form) for form in given}) == 1


@pytest.mark.parametrize("forms", [{}, {"regex": "a", "choice": ["a"]}, {"json": {}, "json_object": True}])
def test_exactly_one_form_is_taken(forms):
    with pytest.raises(InvalidRequest, match="takes exactly one of json, regex, choice, json_object"):
        StructuredOutputsParams(**forms)


@pytest.mark.parametrize(
    "given",
    [
        {"json": "not json"},
        {"json": "[1]"},
        {"json": 5},
        {"json": "false"},
        {"json": {"a": {1}}},
        {"regex": 5},
        {"regex": ""},
        {"choice": []},
        {"choice": "yes"},
        {"choice": ["a", ""]},
        {"choice": ["a", 5]},
        {"json_object": 1},
        {"json_object": True, "disable_any_whitespace": None},
    ],
)
def test_a_form_of_the_wrong_type_is_refused_by_name(given):
    name = list(given)[-1]
    with pytest.raises(InvalidRequest, match=f"StructuredOutputsParams.{name} must be"):
        StructuredOutputsParams(**given)


def test_whitespace_is_a_matter_of_json():
    with pytest.raises(InvalidRequest, match="disable_any_whitespace is for JSON, not for regex"):
        StructuredOutputsParams(regex="a", disable_any_whitespace=True)


@pytest.mark.parametrize(
    "asked", [{"grammar": "root ::= x"}, {"structural_tag": "{}"}, {"whitespace_pattern": " "}]
)
def test_vllms_other_forms_are_refused_by_name(asked):
    with pytest.raises(UnknownArgument, match=f"{next(iter(asked))} = .* is not supported"):
        StructuredOutputsParams(json_object=True, **asked)


def test_a_typing_error_is_told():
    with pytest.raises(UnknownArgument, match="Did you mean 'regex'"):
        StructuredOutputsParams(regexp="a")
