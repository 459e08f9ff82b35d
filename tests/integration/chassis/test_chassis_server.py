"""The server builder, over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import grpc
import httpx2
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from runplane.inference.v1 import inference_pb2 as inference
from runplane.inference.v1 import inference_pb2_grpc as inference_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.context import Principal, RequestContext, current
from services.chassis.errors import Unavailable, Violation, invalid
from services.chassis.http import address_of
from services.chassis.metrics import Figure, Metrics
from services.chassis.server import serving
from services.chassis.settings import ServerSettings
from tests.integration.chassis.fakes import (
    DOMAIN,
    INFERENCE,
    QUICK,
    TOOLS,
    Engine,
    failure,
    named_alike,
    raising,
    serving_tools,
)
from tests.servers.ports import free

REQUEST = pb.GetToolRequest(name="calculator")


@pytest.fixture(autouse=True)
async def time_limit() -> AsyncIterator[None]:
    """No wait in these tests is longer than this."""
    async with asyncio.timeout(20):
        yield


async def test_an_error_arrives_with_reason_fields_and_a_delay() -> None:
    error = invalid(Violation("name", "is odd", "ask for another", "/name"))
    answer = raising(error.after(timedelta(seconds=2)))
    async with serving_tools(answer) as server, grpc.aio.insecure_channel(server.address) as peer:
        code, status, _ = await failure(pb_grpc.ToolRegistryServiceStub(peer).GetTool(REQUEST))

    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail, into in zip(status.details, (info, bad, retry), strict=True):
        assert detail.Unpack(into)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.domain) == ("INVALID_REQUEST", DOMAIN)
    assert dict(info.metadata) == {
        "field": "name",
        "schema_path": "/name",
        "suggested_fix": "ask for another",
    }
    assert bad.field_violations[0].field == "name"
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=2)


async def test_an_error_with_very_much_to_say_still_arrives_with_its_reason() -> None:
    faults = [Violation(f"input.{'é' * 200}[{n}]", "é" * 500) for n in range(200)]
    answer = raising(invalid(*faults, reason="TOOL_INPUT_INVALID"))
    async with serving_tools(answer) as server, grpc.aio.insecure_channel(server.address) as peer:
        code, _, error = await failure(pb_grpc.ToolRegistryServiceStub(peer).GetTool(REQUEST))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "TOOL_INPUT_INVALID"


async def test_an_unknown_exception_is_internal_and_says_nothing_of_itself() -> None:
    answer = raising(RuntimeError("password=hunter2"))
    async with serving_tools(answer) as server, grpc.aio.insecure_channel(server.address) as peer:
        code, status, _ = await failure(pb_grpc.ToolRegistryServiceStub(peer).GetTool(REQUEST))

    assert code is grpc.StatusCode.INTERNAL
    assert status.message == "internal error"
    assert not status.details


async def test_an_unknown_rpc_is_unimplemented() -> None:
    async with serving_tools() as server, grpc.aio.insecure_channel(server.address) as peer:
        call = peer.unary_unary("/runplane.tool_registry.v1.ToolRegistryService/NoSuch")
        code, _, _ = await failure(call(b""))

    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_an_error_in_the_middle_of_a_stream_arrives_with_its_reason() -> None:
    engine = Engine(Unavailable("MODEL_GONE", "the model is gone"))
    async with (
        serving_tools(engine=engine) as server,
        grpc.aio.insecure_channel(server.address) as peer,
    ):
        call = inference_grpc.InferenceServiceStub(peer).StreamGenerate(inference.GenerateRequest())
        first = await call.read()
        code, _, error = await failure(call.read())

    assert first.text
    assert (code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "MODEL_GONE")


@pytest.mark.parametrize("reads", [1, 0])
async def test_a_streams_generator_is_closed_when_the_client_goes_away(reads: int) -> None:
    engine = Engine()
    async with (
        serving_tools(engine=engine) as server,
        grpc.aio.insecure_channel(server.address) as peer,
    ):
        call = inference_grpc.InferenceServiceStub(peer).StreamGenerate(inference.GenerateRequest())
        await call.read()  # The next ones fill the window: the server is blocked in a send.
        for _ in range(reads):
            await call.read()
        call.cancel()

        await engine.closed.wait()


async def test_a_call_is_handled_in_its_context() -> None:
    seen: list[RequestContext] = []

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        seen.append(current.get())
        return pb.Tool()

    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    metadata = [
        ("x-request-id", "req_1"),
        ("traceparent", trace),
        ("runplane-tenant", "acme"),
        ("runplane-subject", "ann"),
        ("runplane-roles", "admin,dev"),
    ]
    async with serving_tools(answer) as server, grpc.aio.insecure_channel(server.address) as peer:
        stub = pb_grpc.ToolRegistryServiceStub(peer)
        await stub.GetTool(REQUEST, metadata=metadata)
        await stub.GetTool(REQUEST)

    assert seen[0].principal == Principal("acme", "ann", ("admin", "dev"))
    assert (seen[0].request_id, seen[0].trace_id) == ("req_1", "a" * 32)
    assert seen[1].principal == Principal()
    assert seen[1].request_id != "req_1"


async def test_a_version_is_negotiated() -> None:
    async with serving_tools() as server, grpc.aio.insecure_channel(server.address) as peer:
        stub = pb_grpc.ToolRegistryServiceStub(peer)
        spoken = await stub.GetTool(REQUEST, metadata=[("runplane-version", "1.0")])
        call = stub.GetTool(REQUEST, metadata=[("runplane-version", "9.0")])
        code, _, error = await failure(call)

    assert spoken.name == "calculator"
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.reason == "PROTOCOL_VERSION_UNSUPPORTED"
    assert error.metadata["supported"] == "1.0"


async def test_a_tenant_that_is_no_identifier_is_refused() -> None:
    async with serving_tools() as server, grpc.aio.insecure_channel(server.address) as peer:
        call = pb_grpc.ToolRegistryServiceStub(peer).GetTool(
            REQUEST, metadata=[("runplane-tenant", "a b")]
        )
        code, _, error = await failure(call)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.violations[0].field == "runplane-tenant"


async def test_a_message_over_the_limit_is_refused() -> None:
    settings = ServerSettings(grace=timedelta(0), max_message_bytes=1024)
    async with (
        serving_tools(settings=settings) as server,
        grpc.aio.insecure_channel(server.address) as peer,
    ):
        call = pb_grpc.ToolRegistryServiceStub(peer).GetTool(pb.GetToolRequest(name="x" * 2_000))
        code, _, _ = await failure(call)

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    let_go = asyncio.Event()
    entered = asyncio.Event()

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        entered.set()
        await let_go.wait()
        return pb.Tool(name=request.name)

    settings = ServerSettings(grace=timedelta(0), max_concurrent_rpcs=1)
    async with (
        serving_tools(answer, settings) as server,
        grpc.aio.insecure_channel(server.address) as peer,
    ):
        stub = pb_grpc.ToolRegistryServiceStub(peer)
        first = stub.GetTool(REQUEST)
        await entered.wait()
        code, _, _ = await failure(stub.GetTool(REQUEST))
        let_go.set()
        tool = await first

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert tool.name == "calculator"


async def test_health_goes_from_not_serving_to_serving_and_back() -> None:
    states = health_pb2.HealthCheckResponse
    not_serving_seen, serving_seen = asyncio.Event(), asyncio.Event()
    stack = AsyncExitStack()
    seen: list[int] = []
    address = f"127.0.0.1:{free()}"

    async def watch(peer: grpc.aio.Channel) -> None:
        call = health_pb2_grpc.HealthStub(peer).Watch(
            health_pb2.HealthCheckRequest(service=TOOLS), wait_for_ready=True
        )
        async for answer in call:
            seen.append(answer.status)
            (serving_seen if seen[-1] == states.SERVING else not_serving_seen).set()
            if len(seen) == 3:
                call.cancel()  # Or the server gives it the grace period.
                return

    async def prepare() -> None:
        await not_serving_seen.wait()

    settings = ServerSettings(listen=address, grace=timedelta(seconds=5))
    async with grpc.aio.insecure_channel(address) as peer, asyncio.TaskGroup() as group:
        group.create_task(watch(peer))
        await stack.enter_async_context(
            serving(settings, domain=DOMAIN, register=[], services=[TOOLS], prepare=prepare)
        )
        await serving_seen.wait()
        await stack.aclose()

    assert seen == [states.NOT_SERVING, states.SERVING, states.NOT_SERVING]


async def test_the_admin_port_says_alive_and_ready() -> None:
    async with serving_tools() as server, httpx2.AsyncClient() as client:
        answers = {
            path: (await client.get(f"http://{server.admin}{path}")).status_code
            for path in ("/livez", "/readyz", "/nosuch")
        }
        assert server.health
        await server.health.set_serving(False)
        unready = await client.get(f"http://{server.admin}/readyz")
        alive = await client.get(f"http://{server.admin}/livez")

    assert answers == {"/livez": 200, "/readyz": 200, "/nosuch": 404}
    assert (unready.status_code, alive.status_code) == (503, 200)


async def test_the_admin_port_shows_what_is_measured() -> None:
    counts = {"a": 1.0}
    metrics = Metrics([Figure("of_topics", "How many.", lambda: counts, label="topic")])
    metrics.add(Figure("of_all", "All.", lambda: {"": 7}, is_counter=True))
    settings = ServerSettings()

    async with (
        serving(settings, domain=DOMAIN, register=[], services=[], metrics=metrics) as server,
        httpx2.AsyncClient() as client,
    ):
        counts["b"] = 2
        page = await client.get(f"http://{server.admin}/metrics")

    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = page.text.splitlines()
    assert {'of_topics{topic="a"} 1.0', 'of_topics{topic="b"} 2.0', "of_all_total 7.0"} <= {*lines}


async def test_reflection_lists_the_services() -> None:
    async with serving_tools() as server, grpc.aio.insecure_channel(server.address) as peer:
        stub = reflection_pb2_grpc.ServerReflectionStub(peer)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        call = stub.ServerReflectionInfo(iter([request]))
        answer = await call.read()

    names = {service.name for service in answer.list_services_response.service}
    assert {TOOLS, INFERENCE, "grpc.health.v1.Health"} <= names


async def test_a_call_under_way_ends_within_the_grace_period() -> None:
    entered, let_go = asyncio.Event(), asyncio.Event()

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        entered.set()
        await let_go.wait()
        return pb.Tool(name=request.name)

    stack = AsyncExitStack()
    settings = ServerSettings(grace=timedelta(seconds=10))
    server = await stack.enter_async_context(serving_tools(answer, settings))
    async with grpc.aio.insecure_channel(server.address) as peer, asyncio.TaskGroup() as group:
        health = health_pb2_grpc.HealthStub(peer).Watch(health_pb2.HealthCheckRequest())
        await health.read()
        call = pb_grpc.ToolRegistryServiceStub(peer).GetTool(REQUEST)
        await entered.wait()
        stopping = group.create_task(stack.aclose())
        last = await health.read()
        let_go.set()
        tool = await call
        health.cancel()
        await stopping

    assert last.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert tool.name == "calculator"


async def test_a_call_that_outlasts_the_grace_period_is_cancelled() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return pb.Tool()

    stack = AsyncExitStack()
    server = await stack.enter_async_context(serving_tools(answer))
    async with grpc.aio.insecure_channel(server.address) as peer:
        call = pb_grpc.ToolRegistryServiceStub(peer).GetTool(REQUEST)
        await entered.wait()
        await stack.aclose()
        code, _, _ = await failure(call)

    assert cancelled.is_set()
    assert code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_a_server_can_be_stopped_at_once() -> None:
    async with serving_tools(named_alike) as server:
        assert server.address != server.admin


@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_a_taken_port_is_an_error_that_names_it(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address_of(taken)
        settings = QUICK.model_copy(update={port: address})
        with pytest.raises(OSError, match=f"^cannot listen on {address}: "):
            async with serving_tools(settings=settings):
                pass


@pytest.mark.parametrize("port", ["listen", "admin"])
@pytest.mark.parametrize("address", ["8080", ":8080", "127.0.0.1", "127.0.0.1:99999", "a:b"])
async def test_what_is_no_address_is_an_error_that_says_so(port: str, address: str) -> None:
    settings = QUICK.model_copy(update={port: address})
    with pytest.raises(OSError, match="HOST:PORT"):
        async with serving_tools(settings=settings):
            pass
