"""Callers find the replicas that have come since they looked, and lose no call by it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2_grpc as pb_grpc

from services.chassis.client import channel
from services.chassis.settings import ClientSettings, ServerSettings
from tests.integration.chassis.fakes import Answer, serving_tools
from tests.servers.dns import names
from tests.servers.ports import free
from tests.servers.proxy import proxy

REQUEST = pb.GetToolRequest(name="calculator")
CALLERS = 32


@pytest.fixture(autouse=True)
async def time_limit() -> AsyncIterator[None]:
    """No wait in these tests is longer than this."""
    async with asyncio.timeout(30):
        yield


def aging(listen: str = "127.0.0.1:0") -> ServerSettings:
    return ServerSettings(listen=listen, grace=timedelta(0), connection_age=timedelta(seconds=1))


def counting(called: asyncio.Event) -> Answer:
    async def answer(request: pb.GetToolRequest) -> pb.Tool:
        called.set()
        return pb.Tool(name=request.name)

    return answer


async def calling(peer: grpc.aio.Channel, *, until: asyncio.Event) -> None:
    stub = pb_grpc.ToolRegistryServiceStub(peer)
    while not until.is_set():
        await stub.GetTool(REQUEST)


async def test_a_replica_that_is_added_to_a_name_gets_calls() -> None:
    port, first, second = free(), asyncio.Event(), asyncio.Event()
    async with (
        serving_tools(counting(first), aging(f"127.0.0.1:{port}")),
        serving_tools(counting(second), aging(f"127.0.0.2:{port}")),
        names("127.0.0.1") as dns,
        channel(ClientSettings(target=f"dns://127.0.0.1:{dns.port}/replicas:{port}")) as peer,
    ):
        await calling(peer, until=first)
        dns.addresses.append("127.0.0.2")

        await calling(peer, until=second)

        assert dns.asked > 1


async def test_a_connection_that_ends_for_its_age_loses_no_call_and_no_stream() -> None:
    is_over = asyncio.Event()
    async with serving_tools(settings=aging()) as server, proxy() as between:
        between.target = int(server.address.rpartition(":")[2])
        async with channel(ClientSettings(target=f"127.0.0.1:{between.port}")) as peer:
            watching = health_pb2_grpc.HealthStub(peer).Watch(health_pb2.HealthCheckRequest())
            serves = await watching.read()
            callers = [asyncio.create_task(calling(peer, until=is_over)) for _ in range(CALLERS)]
            while between.connections < 5:
                await pb_grpc.ToolRegistryServiceStub(peer).GetTool(REQUEST)
            is_over.set()
            await asyncio.gather(*callers)

            assert serves.status == health_pb2.HealthCheckResponse.SERVING
            assert not watching.done()
            watching.cancel()
