"""Tasks with tools that people register, and change while tasks run, at the real registry."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.tool_registry.v1 import targets_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as tools_grpc

from services.tool_registry.app import running
from services.tool_registry.settings import Settings
from tests.integration.orchestrator.conftest import LOOPBACK, SHARED, Suite, started
from tests.integration.orchestrator.talks import Talk, reason_of, start, talk

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLICK = "tool:click {}\nClicked."


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[tuple[Suite, "tools_grpc.ToolRegistryServiceAsyncStub"]]:
    """An orchestrator, and the registry that it asks."""
    async with (
        running(Settings(server=LOOPBACK), SHARED) as registry,
        started(registry_target=registry.address) as suite,
        grpc.aio.insecure_channel(registry.address) as channel,
    ):
        yield suite, tools_grpc.ToolRegistryServiceStub(channel)


def click(version: str) -> tools_pb.Tool:
    return tools_pb.Tool(
        name="click",
        version=version,
        description=f"Clicks as in {version}.",
        input_schema=ParseDict({"type": "object"}, Struct()),
        client=targets_pb2.ClientTarget(),
    )


def pinned(it: Talk) -> list[str]:
    return [f"{tool.name}@{tool.version}" for tool in it.events[0].tools.tools]


async def test_a_task_has_the_version_that_its_range_allowed_when_it_began(
    place: tuple[Suite, "tools_grpc.ToolRegistryServiceAsyncStub"],
) -> None:
    suite, tools = place
    await tools.RegisterTool(tools_pb.RegisterToolRequest(tool=click("1.0.0")), timeout=5)
    async with talk(suite, **start(CLICK, tools=["click@^1"])) as first:
        asked = await first.until("input_required")
        update = tools_pb.UpdateToolRequest(name="click", tool=click("1.1.0"))
        await tools.UpdateTool(update, timeout=5)
        async with talk(suite, **start(CLICK, tools=["click@1.1.0"])) as second:
            await second.until("input_required")
        await tools.DeprecateTool(tools_pb.DeprecateToolRequest(name="click"), timeout=5)
        await tools.DeleteTool(tools_pb.DeleteToolRequest(name="click"), timeout=5)
        await first.say(tool_result=pb.ToolResult(tool_call_id=asked.tool_call_id))
        await first.rest()

    assert (pinned(first), pinned(second)) == (["click@1.0.0"], ["click@1.1.0"])
    assert first.events[-1].status == "completed"


async def test_new_tasks_of_every_replica_get_a_new_version_and_the_old_ones_keep_theirs() -> None:
    soon = timedelta(milliseconds=50)
    async with (
        running(Settings(server=LOOPBACK), SHARED) as registry,
        started(registry_target=registry.address, catalogue_ttl=soon) as here,
        started(registry_target=registry.address, catalogue_ttl=soon) as there,
        grpc.aio.insecure_channel(registry.address) as channel,
        asyncio.timeout(20),
    ):
        tools = tools_grpc.ToolRegistryServiceStub(channel)
        await tools.RegisterTool(tools_pb.RegisterToolRequest(tool=click("1.0.0")), timeout=5)
        async with talk(here, **start(CLICK, tools=["click"])) as old:
            asked = await old.until("input_required")
            update = tools_pb.UpdateToolRequest(name="click", tool=click("1.1.0"))
            await tools.UpdateTool(update, timeout=5)
            for replica in (here, there):
                while await begun_with(replica, tools=["click"]) != "click@1.1.0":
                    pass
                while "click@1.1.0" not in await begun_with(replica):
                    pass
            await old.say(tool_result=pb.ToolResult(tool_call_id=asked.tool_call_id))
            await old.rest()

    assert pinned(old) == ["click@1.0.0"]
    assert {event.tool_version for event in old.events if event.type == "tool_result"} == {"1.0.0"}


async def begun_with(suite: Suite, **fields: Any) -> str:
    """The tools of a task that begins now."""
    events = await suite.events("Hello", **fields)
    return " ".join(f"{tool.name}@{tool.version}" for tool in events[0].tools.tools)


async def test_a_deprecated_tool_of_the_client_is_told_once(
    place: tuple[Suite, "tools_grpc.ToolRegistryServiceAsyncStub"],
) -> None:
    suite, tools = place
    await tools.RegisterTool(tools_pb.RegisterToolRequest(tool=click("1.0.0")), timeout=5)
    mark = tools_pb.DeprecateToolRequest(name="click", message="use tap")
    await tools.DeprecateTool(mark, timeout=5)
    async with talk(suite, **start(CLICK, tools=["click"])) as said:
        asked = await said.until("input_required")
        await said.say(tool_result=pb.ToolResult(tool_call_id=asked.tool_call_id))
        await said.rest()
    task_id = said.events[-1].task_id
    task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)
    await tools.DeleteTool(tools_pb.DeleteToolRequest(name="click"), timeout=5)

    assert [(each.code, each.message) for each in task.warnings] == [("TOOL_DEPRECATED", "use tap")]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("calculator@^9", "TOOL_VERSION_NOT_FOUND"),
        ("calculator@newest", "INVALID_REQUEST"),
        ("nothing", "TOOL_NOT_FOUND"),
    ],
)
async def test_what_the_registry_does_not_have_is_refused(
    place: tuple[Suite, "tools_grpc.ToolRegistryServiceAsyncStub"], named: str, reason: str
) -> None:
    request = pb.InvokeRequest(query="Hello", tools=[named])

    assert (await reason_of(place[0].stub.Invoke(request, timeout=5)))[1] == reason
