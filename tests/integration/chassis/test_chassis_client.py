"""How a service calls another, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import pytest
from runplane.inference.v1 import inference_pb2 as inference
from runplane.inference.v1 import inference_pb2_grpc as inference_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.client import channel, streaming, unary
from services.chassis.context import Principal, RequestContext, current, local_context
from services.chassis.errors import DeadlineExceeded, Internal, NotFound, Unavailable
from services.chassis.settings import ClientSettings
from tests.integration.chassis.fakes import DOMAIN, Engine, raising, serving_tools
from tests.servers.ports import free

REQUEST = pb.GetToolRequest(name="calculator")
GENERATE = inference.GenerateRequest()


@pytest.fixture(autouse=True)
async def time_limit() -> AsyncIterator[None]:
    """No wait in these tests is longer than this."""
    async with asyncio.timeout(20):
        yield


@pytest.fixture
def context() -> RequestContext:
    return local_context(Principal("acme", "ann", ("admin",)))


async def test_a_call_carries_the_current_request(context: RequestContext) -> None:
    seen: list[RequestContext] = []

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        seen.append(current.get())
        return pb.Tool(name=request.name)

    current.set(context)
    async with serving_tools(answer) as server, channel(settings(server.address)) as peer:
        tool = await unary(pb_grpc.ToolRegistryServiceStub(peer).GetTool, REQUEST, timeout=5)

    assert tool.name == "calculator"
    assert seen[0].principal == context.principal
    assert (seen[0].request_id, seen[0].trace_id) == (context.request_id, context.trace_id)


async def test_what_the_peer_refuses_is_the_same_error_here(context: RequestContext) -> None:
    answer = raising(NotFound("TOOL_NOT_FOUND", "there is no tool x", tool="x"))
    current.set(context)
    async with serving_tools(answer) as server, channel(settings(server.address)) as peer:
        with pytest.raises(NotFound) as caught:
            await unary(pb_grpc.ToolRegistryServiceStub(peer).GetTool, REQUEST, timeout=5)

    assert (caught.value.reason, caught.value.domain) == ("TOOL_NOT_FOUND", DOMAIN)
    assert caught.value.metadata == {"tool": "x"}


async def test_what_breaks_at_the_peer_is_its_failure(context: RequestContext) -> None:
    current.set(context)
    async with (
        serving_tools(raising(RuntimeError("oops"))) as server,
        channel(settings(server.address)) as peer,
    ):
        with pytest.raises(Internal) as caught:
            await unary(pb_grpc.ToolRegistryServiceStub(peer).GetTool, REQUEST, timeout=5)

    assert caught.value.reason == "PEER_FAILED"


async def test_a_deadline_ends_the_call_here_and_there(context: RequestContext) -> None:
    stopped = asyncio.Event()

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return pb.Tool()

    current.set(context)
    async with serving_tools(answer) as server, channel(settings(server.address)) as peer:
        with pytest.raises(DeadlineExceeded) as caught:
            await unary(pb_grpc.ToolRegistryServiceStub(peer).GetTool, REQUEST, timeout=0.2)
        await stopped.wait()

    assert caught.value.reason == "DEADLINE_EXCEEDED"


async def test_a_cancel_reaches_the_peer(context: RequestContext) -> None:
    entered, stopped = asyncio.Event(), asyncio.Event()

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return pb.Tool()

    current.set(context)
    async with serving_tools(answer) as server, channel(settings(server.address)) as peer:
        get = pb_grpc.ToolRegistryServiceStub(peer).GetTool
        calling = asyncio.ensure_future(unary(get, REQUEST, timeout=10))
        await entered.wait()
        calling.cancel()

        with pytest.raises(asyncio.CancelledError):
            await calling
        await stopped.wait()


async def test_closing_a_stream_stops_the_peer(context: RequestContext) -> None:
    engine = Engine()
    current.set(context)
    async with serving_tools(engine=engine) as server, channel(settings(server.address)) as peer:
        stub = inference_grpc.InferenceServiceStub(peer)
        async with aclosing(streaming(stub.StreamGenerate, GENERATE, timeout=10)) as messages:
            first = await anext(messages)
        await engine.closed.wait()

    assert first.text


async def read_all(peer: grpc.aio.Channel, reading: asyncio.Event) -> None:
    generate = inference_grpc.InferenceServiceStub(peer).StreamGenerate
    async with aclosing(streaming(generate, GENERATE, timeout=10)) as messages:
        async for _ in messages:
            reading.set()


async def test_cancelling_the_reader_of_a_stream_stops_the_peer(context: RequestContext) -> None:
    engine = Engine()
    reading = asyncio.Event()
    current.set(context)
    async with serving_tools(engine=engine) as server, channel(settings(server.address)) as peer:
        reader = asyncio.ensure_future(read_all(peer, reading))
        await reading.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

        await engine.closed.wait()


async def test_an_error_ends_a_stream(context: RequestContext) -> None:
    engine = Engine(Unavailable("MODEL_GONE", "the model is gone"))
    current.set(context)
    async with serving_tools(engine=engine) as server, channel(settings(server.address)) as peer:
        with pytest.raises(Unavailable) as caught:
            await read_all(peer, asyncio.Event())

    assert (caught.value.reason, caught.value.domain) == ("MODEL_GONE", DOMAIN)


@pytest.fixture
def absent() -> str:
    """An address where nobody listens."""
    return f"127.0.0.1:{free()}"


async def test_an_absent_peer_is_unavailable(context: RequestContext, absent: str) -> None:
    current.set(context)
    async with channel(settings(absent)) as peer:
        with pytest.raises(Unavailable) as caught:
            await unary(pb_grpc.ToolRegistryServiceStub(peer).GetTool, REQUEST, timeout=5)

    assert caught.value.reason == "PEER_UNAVAILABLE"


async def test_a_stream_from_an_absent_peer_is_unavailable(
    context: RequestContext, absent: str
) -> None:
    current.set(context)
    async with channel(settings(absent)) as peer:
        with pytest.raises(Unavailable) as caught:
            await read_all(peer, asyncio.Event())

    assert caught.value.reason == "PEER_UNAVAILABLE"


def settings(target: str) -> ClientSettings:
    return ClientSettings(target=target)
