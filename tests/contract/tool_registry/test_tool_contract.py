"""What holds for every tool, wherever it runs; `PROMISES` has what holds for which."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime, timedelta
from enum import StrEnum

import pytest

from services.chassis.errors import FailedPrecondition
from services.tool_registry.adapters.builtin.calculator import Calculator
from services.tool_registry.adapters.builtin.current_time import EXAMPLE_TIME, CurrentTime
from services.tool_registry.adapters.builtin.unit_convert import UnitConvert
from services.tool_registry.adapters.client_tool import ClientTools
from services.tool_registry.domain.names import NAME
from services.tool_registry.domain.targets import Client
from services.tool_registry.ports import Invocation, Tool
from tests.contract.tool_registry.grpc_places import grpc_tool
from tests.contract.tool_registry.http_cities import http_tool
from tests.contract.tool_registry.mcp_weather import mcp_http_tool, mcp_program_tool
from tests.unit.tool_registry.fakes import FakeTool


class Promise(StrEnum):
    """What callers of a tool may rely on."""

    CONTRACT = "its contract is one object, complete and true"
    ARGUMENTS = "it leaves its arguments alone"
    ANSWERS = "it answers as its examples say, whoever else calls it"
    BOUNDED = "its schemas bound every value"
    REFUSES = "it is not called here, and says who runs it"


def client_tool() -> Tool:
    """A tool that whoever starts a task runs."""
    return ClientTools().made(FakeTool(kept={"target": Client()}).entry, "default")


TOOLS: dict[str, Callable[[], Tool]] = {
    "calculator": Calculator,
    "current_time": lambda: CurrentTime(lambda: datetime.fromisoformat(EXAMPLE_TIME)),
    "unit_convert": UnitConvert,
    "fake": FakeTool,
    "client": client_tool,
}
# Tools of other processes, here of servers that run as long as the context is open.
REMOTE: dict[str, Callable[[], AbstractAsyncContextManager[Tool]]] = {
    "http": http_tool,
    "grpc": grpc_tool,
    "mcp_http": mcp_http_tool,
    "mcp_program": mcp_program_tool,
}
CALLED = {Promise.CONTRACT, Promise.ARGUMENTS, Promise.ANSWERS}
PROMISES = {
    **dict.fromkeys([*TOOLS, *REMOTE], CALLED),
    **dict.fromkeys(["calculator", "current_time", "unit_convert"], CALLED | {Promise.BOUNDED}),
    "client": {Promise.CONTRACT, Promise.ARGUMENTS, Promise.REFUSES},
}
"""What each kind of tool promises."""
BOUNDS = {
    "string": {"maxLength"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "array": {"maxItems"},
    "object": {"additionalProperties"},
}


@pytest.fixture
async def tool(request: pytest.FixtureRequest) -> AsyncIterator[Tool]:
    """Each tool in turn."""
    if request.param in TOOLS:
        yield TOOLS[request.param]()
    else:
        async with REMOTE[request.param]() as opened:
            yield opened


def whoever(promises: Promise) -> pytest.MarkDecorator:
    """The tools that promise this."""
    names = [name for name, kept in PROMISES.items() if promises in kept]
    return pytest.mark.parametrize("tool", names, indirect=True)


def parts(schema: object) -> Iterator[Mapping[str, object]]:
    """Every schema within a schema that names a type."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("type"), str):
            yield schema
        for inner in schema.values():
            yield from parts(inner)


@whoever(promises=Promise.CONTRACT)
def test_its_contract_is_one_object_and_complete(tool: Tool) -> None:
    definition = tool.entry.definition

    assert tool.entry is tool.entry
    assert NAME.fullmatch(definition.name)
    assert re.fullmatch(r"\d+\.\d+\.\d+", definition.version)
    assert 40 <= len(definition.description) <= 400
    assert len(definition.examples) >= 2
    assert timedelta(0) < definition.timeout <= timedelta(minutes=5)


@whoever(promises=Promise.CONTRACT)
def test_its_examples_keep_to_its_schemas(tool: Tool) -> None:
    definition = tool.entry.definition

    for example in definition.examples:
        assert definition.input_schema.violations(example.input) == []
        assert definition.output_schema.violations(example.output) == []


@whoever(promises=Promise.ANSWERS)
async def test_its_examples_are_true(tool: Tool) -> None:
    examples = tool.entry.definition.examples

    answers = [await tool.call(Invocation(example.input)) for example in examples]

    assert [each.value for each in answers] == [example.output for example in examples]


@whoever(promises=Promise.ARGUMENTS)
async def test_it_leaves_its_arguments_alone(tool: Tool) -> None:
    for example in tool.entry.definition.examples:
        given = copy.deepcopy(dict(example.input))
        with suppress(FailedPrecondition):
            await tool.call(Invocation(given))

        assert given == example.input


@whoever(promises=Promise.ANSWERS)
async def test_calls_at_the_same_time_do_not_mix(tool: Tool) -> None:
    examples = [example for example in tool.entry.definition.examples for _ in range(5)]

    async with asyncio.timeout(5):
        results = await asyncio.gather(
            *(tool.call(Invocation(example.input)) for example in examples)
        )

    assert [each.value for each in results] == [example.output for example in examples]


@whoever(promises=Promise.ANSWERS)
async def test_a_cancelled_call_does_no_harm_to_the_next(tool: Tool) -> None:
    example = tool.entry.definition.examples[0]

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(tool.call(Invocation(example.input)))
        first.cancel()

    assert (await tool.call(Invocation(example.input))).value == example.output


@whoever(promises=Promise.REFUSES)
async def test_a_call_of_what_is_not_run_here_says_who_runs_it(tool: Tool) -> None:
    example = tool.entry.definition.examples[0]

    with pytest.raises(FailedPrecondition) as caught:
        await tool.call(Invocation(example.input))

    assert caught.value.reason == "TOOL_RUNS_AT_CLIENT"
    assert caught.value.metadata["suggested_fix"]


@whoever(promises=Promise.BOUNDED)
def test_its_schemas_bound_every_value(tool: Tool) -> None:
    definition = tool.entry.definition
    schemas = (definition.input_schema.document, definition.output_schema.document)

    assert [
        part
        for schema in schemas
        for part in parts(schema)
        if not BOUNDS.get(str(part["type"]), set()) <= set(part)
    ] == []
