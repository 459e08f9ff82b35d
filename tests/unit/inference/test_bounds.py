"""What llama.cpp is spared of a schema."""

from collections.abc import Mapping

import pytest

from services.chassis.errors import InvalidArgument
from services.inference.domain.request import JSON
from services.inference.engines.bounds import MAX_COUNT, MAX_LENGTH, bounded


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "maxItems": MAX_COUNT, "minItems": 3},
        {"type": "string", "maxLength": MAX_LENGTH, "pattern": "^a"},
        {"properties": {"maxItems": {"type": "integer"}}, "required": ["maxItems"]},
        {"enum": [{"maxItems": 2**53}], "const": {"minItems": 2**53}},
        {"allOf": [{"pattern": "a"}, {"pattern": "b"}, {"pattern": "c"}]},
    ],
)
def test_what_fits_is_left_as_it_is(schema: Mapping[str, JSON]) -> None:
    assert bounded(schema) == schema


def test_a_maximum_that_cannot_be_reached_is_left_out() -> None:
    inner: JSON = {"type": "string", "maxLength": 2**53}
    schema: Mapping[str, JSON] = {"maxItems": 2**53, "items": inner, "anyOf": [inner]}

    assert bounded({"x": schema}) == {
        "x": {"items": {"type": "string"}, "anyOf": [{"type": "string"}]}
    }
    assert bounded(schema) == {"items": {"type": "string"}, "anyOf": [{"type": "string"}]}


@pytest.mark.parametrize(
    "schema",
    [
        {"minItems": 2**53},
        {"properties": {"a": {"minLength": MAX_LENGTH + 1}}},
        {"anyOf": [{"minProperties": 1e300}]},
        {"allOf": [{"pattern": letter} for letter in "abcd"]},
    ],
)
def test_what_cannot_be_met_is_refused(schema: Mapping[str, JSON]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bounded(schema)

    assert caught.value.reason == "SCHEMA_INVALID"
