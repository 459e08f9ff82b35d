"""StreamCallTool over a real socket."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.chassis.telling import Logged, Progress
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.ports import Invocation
from tests.integration.tool_registry.conftest import Registry, fault_of, request, started
from tests.unit.tool_registry.fakes import FakeTool, Waiting

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def streamed(registry: Registry, asked: pb.CallToolRequest) -> Sequence[pb.ToolCallEvent]:
    async with asyncio.timeout(10):
        return [each async for each in registry.stub.StreamCallTool(asked, timeout=10)]


async def telling(invocation: Invocation) -> object:
    """Tells of itself, and then answers."""
    invocation.report(Progress(1, 2, "reading"))
    invocation.report(Logged("notice", "half way"))
    invocation.report(Progress(2, 2))
    return {"text": "done"}


async def test_a_stream_has_what_the_tool_tells_and_then_its_response() -> None:
    async with started(None, FakeTool(told=telling)) as registry:
        log, progress, last = await streamed(registry, request("fake"))

    assert (log.type, log.log.level, log.log.message) == ("log", "notice", "half way")
    assert (progress.type, progress.progress.progress, progress.progress.total) == (
        "progress",
        2,
        2,
    )
    assert (last.type, last.response.status) == ("response", "success")
    assert structs.to_value(last.response.result) == {"text": "done"}
    assert last.response.observability.latency_ms > 0


async def test_a_total_that_is_not_known_is_not_there() -> None:
    async def work(invocation: Invocation) -> object:
        invocation.report(Progress(0.5))
        return None

    async with started(None, FakeTool(told=work)) as registry:
        progress, _ = await streamed(registry, request("fake"))

    assert progress.progress.progress == 0.5
    assert not progress.progress.HasField("total")


async def test_a_quick_tool_is_one_event(registry: Registry) -> None:
    [only] = await streamed(registry, request("calculator", expression="6 * 7"))

    assert structs.to_value(only.response.result) == {"value": 42}


async def test_the_first_report_does_not_wait_for_the_tool() -> None:
    work = Waiting()

    async def slow(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        return await work({})

    async with asyncio.timeout(5), started(None, FakeTool(told=slow)) as registry:
        call = registry.stub.StreamCallTool(request("fake"), timeout=5)
        first = await call.read()
        still_works = not work.stopped.is_set()
        work.released.set()
        last = await call.read()

    assert (first.type, last.type) == ("progress", "response")
    assert still_works


async def test_a_failure_of_the_tool_is_in_the_response() -> None:
    async def work(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        raise ToolFailure("NO_WAY", "it cannot be")

    async with started(None, FakeTool(told=work)) as registry:
        _, last = await streamed(registry, request("fake"))

    assert (last.response.status, last.response.error.reason) == ("error", "NO_WAY")


async def test_a_call_that_fails_fails_the_stream_after_what_was_told() -> None:
    async def work(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        return await Waiting()({})

    asked = request("fake")
    asked.timeout_ms = 50
    async with asyncio.timeout(5), started(None, FakeTool(told=work)) as registry:
        call = registry.stub.StreamCallTool(asked, timeout=5)
        first = await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()

    assert first.type == "progress"
    assert fault_of(caught.value).info.reason == "TOOL_TIMEOUT"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request("calculator", expression=3), "TOOL_INPUT_INVALID"),
        (request("nothing"), "TOOL_NOT_FOUND"),
    ],
)
async def test_a_call_that_is_refused_has_no_events(
    registry: Registry, asked: pb.CallToolRequest, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await streamed(registry, asked)

    assert fault_of(caught.value).info.reason == reason


async def test_cancelling_a_stream_cancels_the_tool() -> None:
    work = Waiting()

    async def told(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        return await work({})

    async with asyncio.timeout(5), started(None, FakeTool(told=told)) as registry:
        call = registry.stub.StreamCallTool(request("fake"))
        await call.read()
        call.cancel()
        await work.stopped.wait()
        after = await registry.call("calculator", expression="1")

    assert after.status == "success"


async def test_a_reader_that_does_not_read_holds_no_tool_up() -> None:
    ended = asyncio.Event()

    async def chatty(invocation: Invocation) -> object:
        for number in range(1, 10_001):
            invocation.report(Progress(number, message="x" * 4000))
            invocation.report(Logged("info", "x" * 4000))
            if number % 100 == 0:
                await asyncio.sleep(0)
        ended.set()
        return None

    async with asyncio.timeout(20), started(None, FakeTool(told=chatty)) as registry:
        call = registry.stub.StreamCallTool(request("fake"), timeout=20)
        await ended.wait()
        events = [each async for each in call]

    logs = [each.log.message for each in events if each.type == "log"]
    assert len(logs) == 101
    assert logs[-1] == "9900 more messages of the tool were dropped"
    assert events[-1].type == "response"
