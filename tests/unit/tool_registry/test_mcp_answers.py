"""What tools of MCP servers answered, as tools answer here."""

from typing import Any

import pytest
from mcp_types import CallToolResult, InputRequiredResult, Tool

from services.tool_registry.adapters.mcp.answers import answer, requests
from services.tool_registry.adapters.mcp.entries import EXAMPLES, LASTS, Refused, entry
from services.tool_registry.domain.server import Server
from services.tool_registry.domain.targets import Mcp
from services.tool_registry.domain.tool import ToolFailure

TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
SERVER = Server("w", url="http://x/", tags=("weather",), requires_approval=True)


def result(**members: Any) -> CallToolResult:
    return CallToolResult.model_validate({"content": [], **members}, by_name=False)


def tool(**members: Any) -> Tool:
    return Tool.model_validate({"name": "t", "inputSchema": {}, **members}, by_name=False)


@pytest.mark.parametrize(
    ("members", "value", "content"),
    [
        ({"structuredContent": {"a": 1}}, {"a": 1}, 0),
        (
            {
                "structuredContent": {"a": 1},
                "content": [{"type": "text", "text": '{"a": 1}'}],
            },
            {"a": 1},
            0,
        ),
        ({"structuredContent": {"result": "hello"}, "content": [TEXT]}, {"result": "hello"}, 0),
        ({"structuredContent": {"a": 1}, "content": [TEXT]}, {"a": 1}, 1),
        ({"structuredContent": {"a": 1}, "content": [IMAGE]}, {"a": 1}, 1),
        ({"content": [TEXT]}, "hello", 0),
        ({"content": [TEXT, IMAGE]}, {"content": [TEXT, IMAGE]}, 0),
        ({}, {"content": []}, 0),
    ],
)
def test_a_result_has_a_value_and_content_that_says_more(
    members: dict[str, Any], value: object, content: int
) -> None:
    found = answer(result(**members), name="t", has_output=False)

    assert found.value == value
    assert len(found.content) == content


@pytest.mark.parametrize(
    ("text", "has_output", "value"),
    [('{"a": 1}', True, {"a": 1}), ('{"a": 1}', False, '{"a": 1}'), ("no JSON", True, "no JSON")],
)
def test_a_text_is_json_where_the_tool_has_an_output_schema(
    text: str, has_output: bool, value: object
) -> None:
    content = [{"type": "text", "text": text}]

    assert answer(result(content=content), name="t", has_output=has_output).value == value


def test_an_error_is_a_failure_of_bounded_length() -> None:
    content = [{"type": "text", "text": "no" * 10_000}]

    with pytest.raises(ToolFailure) as caught:
        answer(result(content=content, isError=True), name="t", has_output=False)

    assert caught.value.reason == "MCP_TOOL_ERROR"
    assert len(caught.value.message) < 2100


def test_what_a_tool_asks_is_for_others_to_judge() -> None:
    question = {"method": "elicitation/create", "params": {"mode": "form", "message": "?"}}
    question["params"]["requestedSchema"] = {"type": "object", "properties": {}}  # type: ignore[index]
    many = {f"q{number}": question for number in range(17)}
    asked = InputRequiredResult.model_validate({"inputRequests": many}, by_name=False)

    assert requests(asked).inputs == many


def test_a_tool_is_kept_with_what_its_server_was_registered_with() -> None:
    found = entry(SERVER, tool(description="Does.", annotations={"readOnlyHint": True}))

    definition = found.definition
    assert (definition.name, definition.version, definition.description) == (
        "w__t",
        "1.0.0",
        "Does.",
    )
    assert (definition.tags, definition.requires_approval) == (("weather",), True)
    assert definition.is_idempotent
    assert definition.input_schema.document == {"type": "object"}
    assert found.target == Mcp("w", "t")


def test_a_tool_that_says_nothing_of_itself_may_not_be_repeated() -> None:
    definition = entry(SERVER, tool()).definition

    assert not definition.is_idempotent
    assert definition.description


@pytest.mark.parametrize(
    "members",
    [
        {"name": "a b"},
        {"name": "x" * 70},
        {"inputSchema": {"type": "string"}},
        {"inputSchema": {"$ref": "https://elsewhere/schema"}},
        {"inputSchema": {"properties": {"a": {"type": "nonsense"}}}},
        {"outputSchema": {"type": 3}},
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_a_reason(members: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        entry(SERVER, tool(**members))

    assert str(caught.value)


def test_examples_that_are_some_come_along() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    good = {"query": "What is one?", "input": {"a": 1}, "output": 1}
    bad = [{"query": "?", "input": {"a": "x"}}, {"query": 3, "input": {}}, "no example", {}]

    found = entry(SERVER, tool(inputSchema=schema, _meta={EXAMPLES: [good, *bad]}))

    assert [each.query for each in found.definition.examples] == ["What is one?"]


@pytest.mark.parametrize(
    ("members", "lasts"),
    [
        ({}, False),
        ({"execution": {"taskSupport": "forbidden"}}, False),
        ({"execution": {"taskSupport": "optional"}}, True),
        ({"execution": {"taskSupport": "required"}}, True),
        ({"_meta": {LASTS: True}}, True),
        ({"_meta": {LASTS: "yes"}}, False),
    ],
)
def test_a_server_says_which_of_its_tools_take_long(members: dict[str, Any], lasts: bool) -> None:
    assert entry(SERVER, tool(**members)).definition.is_long_running is lasts


def test_a_tool_that_another_suite_serves_on_is_left_out() -> None:
    with pytest.raises(Refused, match="served on"):
        entry(SERVER, tool(_meta={"dev.runplane/server": "its"}))


def test_a_tool_of_another_suites_own_is_taken() -> None:
    found = entry(SERVER, tool(name="other__t", _meta={"dev.runplane/version": "1.0.0"}))

    assert found.definition.name == "w__other__t"


def test_a_text_of_more_values_than_a_message_may_have_is_not_read() -> None:
    text = f"[{','.join(['[]'] * 250_000)}]"
    content = [{"type": "text", "text": text}]

    assert answer(result(content=content), name="t", has_output=True).value == text
