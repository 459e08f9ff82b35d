"""What a server says of the calls it had, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from runplane.inference.v1 import inference_pb2 as inference
from runplane.inference.v1 import inference_pb2_grpc as inference_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.calls import DURATION, IN_FLIGHT
from services.chassis.errors import NotFound
from services.chassis.server import Running
from tests.integration.chassis.fakes import INFERENCE, TOOLS, Engine, raising, serving_tools

LABELS = ("rpc_service", "method", "code")
Found = dict[tuple[str, ...], float]

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(autouse=True)
async def time_limit() -> AsyncIterator[None]:
    """No wait in these tests is longer than this."""
    async with asyncio.timeout(20):
        yield


async def page(server: Running, accept: str = "text/plain") -> str:
    async with httpx2.AsyncClient(headers={"accept": accept}) as client:
        return (await client.get(f"http://{server.admin}/metrics")).text


async def samples(server: Running, name: str) -> Found:
    """By service, method and code."""
    return {
        tuple(each.labels[label] for label in LABELS if label in each.labels): each.value
        for family in families(await page(server))
        for each in family.samples
        if each.name == name
    }


async def until(server: Running, name: str, holds: Callable[[Found], bool]) -> Found:
    """Ask again and again: a call is counted a moment after its caller has its answer."""
    while not holds(found := await samples(server, name)):
        pass
    return found


async def test_calls_are_counted_by_method_and_code() -> None:
    answer = raising(NotFound("TOOL_NOT_FOUND", "there is none"))
    async with serving_tools(answer) as server, grpc.aio.insecure_channel(server.address) as peer:
        stub = pb_grpc.ToolRegistryServiceStub(peer)
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetTool(pb.GetToolRequest(name="calculator"))

        key = (TOOLS, "GetTool", "NOT_FOUND")
        counts = await until(server, f"{DURATION}_count", lambda found: found.get(key) == 2)

    assert counts[TOOLS, "GetTool", "OK"] == 0
    assert counts[INFERENCE, "StreamGenerate", "OK"] == 0


async def test_a_call_with_a_context_that_cannot_be_used_counts_too() -> None:
    async with serving_tools() as server, grpc.aio.insecure_channel(server.address) as peer:
        stub = pb_grpc.ToolRegistryServiceStub(peer)
        odd = (("runplane-version", "9.9"),)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetTool(pb.GetToolRequest(name="calculator"), metadata=odd)

        key = (TOOLS, "GetTool", "FAILED_PRECONDITION")
        counts = await until(server, f"{DURATION}_count", lambda found: found.get(key) == 1)

    assert counts[key] == 1


async def test_a_stream_whose_time_is_over_is_told_from_one_that_was_cut_short() -> None:
    async with (
        serving_tools(engine=Engine()) as server,
        grpc.aio.insecure_channel(server.address) as peer,
    ):
        stub = inference_grpc.InferenceServiceStub(peer)
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in stub.StreamGenerate(inference.GenerateRequest(), timeout=0.1):
                pass

        key = (INFERENCE, "StreamGenerate", "DEADLINE_EXCEEDED")
        counts = await until(server, f"{DURATION}_count", lambda found: found.get(key) == 1)

    assert (INFERENCE, "StreamGenerate", "CANCELLED") not in counts


async def test_a_stream_is_under_way_until_its_caller_goes_away() -> None:
    async with (
        serving_tools(engine=Engine()) as server,
        grpc.aio.insecure_channel(server.address) as peer,
    ):
        call = inference_grpc.InferenceServiceStub(peer).StreamGenerate(inference.GenerateRequest())
        await call.read()
        during = await samples(server, IN_FLIGHT)
        call.cancel()
        method = (INFERENCE, "StreamGenerate")
        after = await until(server, IN_FLIGHT, lambda found: found[method] == 0)
        counts = await samples(server, f"{DURATION}_count")

    assert during[method] == 1
    assert after[method] == 0
    assert counts[*method, "CANCELLED"] == 1


async def examples(flags: str) -> set[str]:
    """The traces that are shown after a call with these flags."""
    async with serving_tools() as server, grpc.aio.insecure_channel(server.address) as peer:
        stub = pb_grpc.ToolRegistryServiceStub(peer)
        traced = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-{flags}"),)
        await stub.GetTool(pb.GetToolRequest(name="calculator"), metadata=traced)
        key = (TOOLS, "GetTool", "OK")
        await until(server, f"{DURATION}_count", lambda found: found.get(key) == 1)
        shown = await page(server, "application/openmetrics-text; version=1.0.0")

    return {
        each.exemplar.labels["trace_id"]
        for family in open_families(shown)
        for each in family.samples
        if each.exemplar
    }


@pytest.mark.usefixtures("recorded")
async def test_a_call_shows_its_trace_to_those_who_ask_for_open_metrics() -> None:
    assert await examples("01") == {TRACE}


@pytest.mark.usefixtures("recorded")
async def test_a_trace_that_is_not_recorded_is_no_example() -> None:
    assert await examples("00") == set()
