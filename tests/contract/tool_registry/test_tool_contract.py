"""What holds for every tool, wherever it runs."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

import pytest

from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.adapters.builtin.current_time import EXAMPLE_TIME, CurrentTime
from services.tool_registry.adapters.builtin.unit_convert import UnitConvert
from services.tool_registry.domain.names import NAME
from services.tool_registry.ports import Invocation, Tool
from tests.contract.tool_registry.grpc_places import grpc_tool
from tests.contract.tool_registry.http_cities import http_tool
from tests.contract.tool_registry.mcp_weather import mcp_http_tool, mcp_program_tool
from tests.unit.tool_registry.fakes import FakeTool

TOOLS: dict[str, Callable[[], Tool]] = {
    "calculator": Calculator,
    "current_time": lambda: CurrentTime(lambda: datetime.fromisoformat(EXAMPLE_TIME)),
    "unit_convert": UnitConvert,
    "fake": FakeTool,
}
# Tools of other processes, here of servers that run as long as the context is open.
REMOTE: dict[str, Callable[[], AbstractAsyncContextManager[Tool]]] = {
    "http": http_tool,
    "grpc": grpc_tool,
    "mcp_http": mcp_http_tool,
    "mcp_program": mcp_program_tool,
}
BUILTIN = [name for name in TOOLS if name != "fake"]
BOUNDS = {
    "string": {"maxLength"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "array": {"maxItems"},
    "object": {"additionalProperties"},
}


@pytest.fixture(params=[*TOOLS, *REMOTE])
async def tool(request: pytest.FixtureRequest) -> AsyncIterator[Tool]:
    """Each tool in turn."""
    if request.param in TOOLS:
        yield TOOLS[request.param]()
    else:
        async with REMOTE[request.param]() as opened:
            yield opened


def parts(schema: object) -> Iterator[Mapping[str, object]]:
    """Every schema within a schema that names a type."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("type"), str):
            yield schema
        for inner in schema.values():
            yield from parts(inner)


def test_its_contract_is_one_object_and_complete(tool: Tool) -> None:
    definition = tool.entry.definition

    assert tool.entry is tool.entry
    assert NAME.fullmatch(definition.name)
    assert re.fullmatch(r"\d+\.\d+\.\d+", definition.version)
    assert 40 <= len(definition.description) <= 400
    assert len(definition.examples) >= 2
    assert timedelta(0) < definition.timeout <= timedelta(minutes=5)


async def test_its_examples_are_true(tool: Tool) -> None:
    for example in tool.entry.definition.examples:
        assert tool.entry.definition.input_schema.violations(example.input) == []
        assert tool.entry.definition.output_schema.violations(example.output) == []
        assert (await tool.call(Invocation(example.input))).value == example.output


async def test_it_leaves_its_arguments_alone(tool: Tool) -> None:
    for example in tool.entry.definition.examples:
        given = copy.deepcopy(dict(example.input))
        await tool.call(Invocation(given))

        assert given == example.input


async def test_calls_at_the_same_time_do_not_mix(tool: Tool) -> None:
    examples = [example for example in tool.entry.definition.examples for _ in range(5)]

    async with asyncio.timeout(5):
        results = await asyncio.gather(
            *(tool.call(Invocation(example.input)) for example in examples)
        )

    assert [each.value for each in results] == [example.output for example in examples]


async def test_a_cancelled_call_does_no_harm_to_the_next(tool: Tool) -> None:
    example = tool.entry.definition.examples[0]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(tool.call(Invocation(example.input)))
        first.cancel()

    assert (await tool.call(Invocation(example.input))).value == example.output


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_schemas_bound_every_value(name: str) -> None:
    definition = TOOLS[name]().entry.definition
    schemas = (definition.input_schema.document, definition.output_schema.document)

    assert [
        part
        for schema in schemas
        for part in parts(schema)
        if not BOUNDS.get(str(part["type"]), set()) <= set(part)
    ] == []
