"""What the orchestrator relies on, of the registry itself and of the one that its tests put in its
place."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import targets_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.telling import Logged, Progress
from services.tool_registry.ports import Invocation
from tests.integration.orchestrator.talks import reason_of
from tests.integration.tool_registry.conftest import started
from tests.servers.registry import Told, registry, success
from tests.unit.tool_registry.fakes import FakeTool

pytestmark = pytest.mark.asyncio(loop_scope="module")

Stub = Any
VERSIONS = ("1.0.0", "1.2.0", "2.0.0")
ACTIVE = "state = active"
BUILTIN = "state = active AND kind = builtin"


async def tell(invocation: Invocation) -> object:
    """Says how far it is, and what it has to say."""
    invocation.report(Progress(1, 2, "reading"))
    invocation.report(Logged("notice", "half way"))
    return {"text": "done"}


async def real(stack: AsyncExitStack) -> Stub:
    opened = await stack.enter_async_context(started(None, FakeTool(told=tell, name="work")))
    for name in ("click", "old"):
        await register(opened.stub, name)
    await opened.stub.DeprecateTool(pb.DeprecateToolRequest(name="old"), timeout=5)
    return opened.stub


async def register(stub: Stub, name: str) -> None:
    schema = ParseDict({"type": "object"}, Struct())
    for version in VERSIONS:
        tool = pb.Tool(name=name, version=version, description="Clicks.", input_schema=schema)
        tool.client.CopyFrom(targets_pb2.ClientTarget())
        if version == VERSIONS[0]:
            await stub.RegisterTool(pb.RegisterToolRequest(tool=tool), timeout=5)
        else:
            await stub.UpdateTool(pb.UpdateToolRequest(name=name, tool=tool), timeout=5)


async def fake(stack: AsyncExitStack) -> Stub:
    found = await stack.enter_async_context(registry())
    for name in ("calculator", "current_time", "unit_convert", "work"):
        found.add(name, kind=pb.TOOL_KIND_BUILTIN)
    for version in VERSIONS:
        found.add("click", version, kind=pb.TOOL_KIND_CLIENT)
        found.add("old", version, kind=pb.TOOL_KIND_CLIENT).state = pb.TOOL_STATE_DEPRECATED

    async def work(request: pb.CallToolRequest, told: Told) -> pb.CallToolResponse:
        progress = pb.ToolProgress(progress=1, total=2, message="reading")
        await told(pb.ToolCallEvent(type="progress", progress=progress))
        said = pb.ToolLog(level="notice", message="half way")
        await told(pb.ToolCallEvent(type="log", log=said))
        return success({"text": "done"})

    found.answers["work"] = work
    found.answers["calculator"] = lambda request, told: answered(84)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(found.address))
    return pb_grpc.ToolRegistryServiceStub(channel)


async def answered(value: int) -> pb.CallToolResponse:
    return success({"value": value})


@pytest_asyncio.fixture(params=[real, fake], scope="module", loop_scope="module")
async def stub(request: pytest.FixtureRequest) -> AsyncIterator[Stub]:
    """A registry with built-in tools, and some for clients in three versions."""
    async with AsyncExitStack() as stack:
        yield await request.param(stack)


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("", {"calculator", "click", "current_time", "old", "unit_convert", "work"}),
        (ACTIVE, {"calculator", "click", "current_time", "unit_convert", "work"}),
        (BUILTIN, {"calculator", "current_time", "unit_convert", "work"}),
    ],
)
async def test_a_list_has_the_newest_version_of_each_tool(
    stub: Stub, which: str, names: set[str]
) -> None:
    page = await stub.ListTools(pb.ListToolsRequest(page_size=65, filter=which), timeout=5)

    found = {tool.name: tool.version for tool in page.tools}
    assert {*found} == names
    assert found.get("click", "2.0.0") == "2.0.0"
    assert page.next_page_token == ""


@pytest.mark.parametrize(
    ("version", "found"),
    [
        ("", "2.0.0"),
        ("1.0.0", "1.0.0"),
        ("^1", "1.2.0"),
        (">= 1.0 < 1.2", "1.0.0"),
        ("=1.2.0", "1.2.0"),
    ],
)
async def test_a_tool_is_found_in_the_newest_version_that_will_do(
    stub: Stub, version: str, found: str
) -> None:
    tool = await stub.GetTool(pb.GetToolRequest(name="click", version=version), timeout=5)

    assert (tool.name, tool.version, tool.kind) == ("click", found, pb.TOOL_KIND_CLIENT)


@pytest.mark.parametrize(
    ("name", "version", "code", "reason"),
    [
        ("nothing", "", grpc.StatusCode.NOT_FOUND, "TOOL_NOT_FOUND"),
        ("nothing", "^1", grpc.StatusCode.NOT_FOUND, "TOOL_NOT_FOUND"),
        ("click", "^3", grpc.StatusCode.NOT_FOUND, "TOOL_VERSION_NOT_FOUND"),
        ("click", "newest", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    ],
)
async def test_what_is_not_there_is_refused(
    stub: Stub, name: str, version: str, code: grpc.StatusCode, reason: str
) -> None:
    asked = pb.GetToolRequest(name=name, version=version)
    call = pb.CallToolRequest(name=name, version=version)

    assert await reason_of(stub.GetTool(asked, timeout=5)) == (code, reason)
    assert await reason_of(stub.CallTool(call, timeout=5)) == (code, reason)


async def test_a_call_says_what_was_called_and_what_came_of_it(stub: Stub) -> None:
    given = ParseDict({"expression": "12*7"}, Struct())
    asked = pb.CallToolRequest(name="calculator", version="1.0.0", input=given)

    response = await stub.CallTool(asked, timeout=5)

    assert (response.status, response.tool_name, response.tool_version) == (
        "success",
        "calculator",
        "1.0.0",
    )
    assert MessageToDict(response.result) == {"value": 84}


async def test_a_stream_has_what_is_told_and_then_the_response(stub: Stub) -> None:
    asked = pb.CallToolRequest(name="work", version="1.0.0")

    events = [each async for each in stub.StreamCallTool(asked, timeout=5)]

    *told, last = events
    assert {each.type for each in told} == {"progress", "log"}
    progress = next(each.progress for each in told if each.type == "progress")
    log = next(each.log for each in told if each.type == "log")
    assert (progress.progress, progress.total, progress.message) == (1, 2, "reading")
    assert (log.level, log.message) == ("notice", "half way")
    assert (last.type, last.response.status) == ("response", "success")
    assert MessageToDict(last.response.result) == {"text": "done"}
