"""What becomes of a request on its way in from the wire."""

import pytest
from runplane.inference.v1 import inference_pb2 as pb

from services.chassis.errors import InvalidArgument
from services.inference.domain.tools import MAX_TOOLS_BYTES
from services.inference.mapping.inference import Schemas, request

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def asked(*schemas: object, described: str = "") -> pb.GenerateRequest:
    """A request that offers a tool with each of these schemas."""
    message = pb.GenerateRequest(messages=[{"role": "user", "content": "hi"}])
    for number, schema in enumerate(schemas):
        tool = message.tools.add(name=f"tool{number}", description=described)
        tool.input_schema.update(schema)
    return message


def test_a_schema_that_came_before_is_not_read_again() -> None:
    schemas = Schemas()

    one, other = (request(asked(SCHEMA), schemas).tools[0] for _ in range(2))

    assert one.input_schema is other.input_schema


def test_a_schema_says_where_it_stands_whatever_it_was_before() -> None:
    schemas = Schemas()
    request(asked(SCHEMA), schemas)
    message = asked()
    message.response_schema.update(SCHEMA)

    bound = request(message, schemas).schema

    assert bound is not None
    assert [each.field for each in bound.violations({})] == ["response_schema.city"]


def test_a_tool_without_a_schema_takes_any_object() -> None:
    assert request(asked({}), Schemas()).tools[0].input_schema == {"type": "object"}


def test_a_tools_schema_that_is_none_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidArgument) as caught:
        request(asked(SCHEMA, {"type": "thing"}), Schemas())

    assert caught.value.reason == "SCHEMA_INVALID"
    assert caught.value.metadata["field"] == "tools[1].input_schema"


def test_tools_that_are_too_much_together_are_refused_before_they_are_read() -> None:
    described = "x" * (MAX_TOOLS_BYTES // 64)

    with pytest.raises(InvalidArgument) as caught:
        request(asked(*[{"type": "thing"}] * 64, described=described), Schemas())

    assert (caught.value.reason, caught.value.metadata["field"]) == ("INVALID_REQUEST", "tools")
