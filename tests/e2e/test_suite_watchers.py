"""Whoever watches a task, from when on and by whichever door, sees the same bytes; and who does not
read costs next to nothing."""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx2
import psutil
import pytest
from google.protobuf.json_format import Parse
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb

from tests.e2e.replicas import Process, client, cluster, edge, watched
from tests.servers.postgres import Postgres, postgres
from tests.servers.redis import redis
from tests.servers.registry import Told, registry, success

WATCH = "/runplane.orchestrator.v1.OrchestratorService/WatchTask"
WATCHERS = 24
SECONDS = 1.5  # Within which they join; about as long as the task takes.
STEP = 'thought:{n}\nsleep:30\ntool:calculator {{"expression": "{n}*7"}}\ntool:current_time {{}}\n'
SCRIPT = "".join(STEP.format(n=n) for n in range(20)) + "\ntokens:300"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL for this module."""
    with postgres() as running:
        yield running


async def raw(channel: grpc.aio.Channel, task_id: str, after: int) -> list[bytes]:
    """The events that a watcher by gRPC is sent, as they are on the wire."""
    method = channel.unary_stream(WATCH, request_serializer=pb.WatchTaskRequest.SerializeToString)
    request = pb.WatchTaskRequest(task_id=task_id, after_sequence=after)
    return [event async for event in method(request, timeout=60)]


async def sse(http: httpx2.AsyncClient, task_id: str, after: int) -> list[str]:
    """The data of the events that a watcher over HTTP is sent."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    async with http.stream("GET", f"/v1/tasks/{task_id}:watch", headers=headers) as reply:
        assert reply.status_code == 200
        return [line[6:] async for line in reply.aiter_lines() if line.startswith("data: ")]


async def later(seed: random.Random) -> int:
    """Wait a while; from when on to watch then."""
    await asyncio.sleep(seed.random() * SECONDS)
    return seed.choice([0, seed.randrange(100)])


@pytest.mark.parametrize("hot", ["redis", "memory"])
async def test_watchers_that_join_whenever_they_like_see_the_same_bytes(
    tmp_path: Path, server: Postgres, hot: str
) -> None:
    """At both of two replicas, and at an edge that goes to either."""
    seed = random.Random(7)

    async def by_grpc(channel: grpc.aio.Channel, task_id: str) -> tuple[int, list[bytes]]:
        after = await later(seed)
        return after, await raw(channel, task_id, after)

    async def by_sse(http: httpx2.AsyncClient, task_id: str) -> tuple[int, list[str]]:
        after = await later(seed)
        return after, await sse(http, task_id, after)

    async with both(tmp_path, server, hot) as (channels, http), asyncio.timeout(60):
        stub: pb_grpc.OrchestratorServiceAsyncStub = pb_grpc.OrchestratorServiceStub(channels[0])
        request = pb.InvokeRequest(query=SCRIPT, limits=pb.TaskLimits(steps=32))
        task_id = (await stub.CreateTask(request)).task_id
        seen, shown = await asyncio.gather(
            asyncio.gather(*(by_grpc(channels[n % 2], task_id) for n in range(WATCHERS))),
            asyncio.gather(*(by_sse(http, task_id) for _ in range(WATCHERS))),
        )
        whole, lines = await raw(channels[0], task_id, 0), await sse(http, task_id, 0)

    events = [pb.TaskEvent.FromString(each) for each in whole]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].status == "completed"
    assert [Parse(line, pb.TaskEvent()) for line in lines] == events
    assert all(got == whole[after:] for after, got in seen)
    assert all(got == lines[after:] for after, got in shown)


@asynccontextmanager
async def both(
    folder: Path, server: Postgres, hot: str
) -> AsyncIterator[tuple[list[grpc.aio.Channel], httpx2.AsyncClient]]:
    """Channels to two replicas, and a client of an edge before them."""
    with redis() as store:
        stores = {"RUNPLANE_HOT_STORE": store.url if hot == "redis" else "memory:"}
        with (
            cluster(folder, server.url, replicas=2, **stores) as running,
            edge(folder, running) as gateway,
        ):
            first, second = (each.address for each in running.orchestrators)
            async with (
                grpc.aio.insecure_channel(first) as one,
                grpc.aio.insecure_channel(second) as other,
                httpx2.AsyncClient(base_url=f"http://{gateway.address}", timeout=60) as http,
            ):
                yield [one, other], http


RESULT = "x" * 60_000  # Of a tool call; a task makes 120 of them.
LARGE = "thought:more\n" + "tool:repeat {}\n" * 4 + "\n"
HISTORY_BYTES = 7_000_000
STALLED = 12


def stalled(gateway: Process, task_id: str) -> socket.socket:
    """A client that asks for a task's events and does not read them."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(("127.0.0.1", gateway.port))
    opened.sendall(f"GET /v1/tasks/{task_id}:watch HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return opened


def read_on(opened: socket.socket) -> list[int]:
    """The sequences of all events that a client is sent that reads again."""
    opened.settimeout(30)
    received = bytearray()
    while not received.endswith(b"\r\n0\r\n\r\n"):
        data = opened.recv(1 << 20)
        assert data, "the stream broke"
        received += data
    assert len(received) > HISTORY_BYTES
    return [int(number) for number in re.findall(rb"\nid: (\d+)\n", received)]


def used_bytes(process: Process) -> int:
    """Memory that is a process's own: no files that it maps."""
    assert process.child is not None
    return int(psutil.Process(process.child.pid).memory_full_info().uss)


async def test_watchers_that_do_not_read_cost_a_bounded_amount_and_then_see_all(
    tmp_path: Path,
) -> None:
    request = pb.InvokeRequest(query=LARGE * 30 + "end", limits=pb.TaskLimits(steps=32))

    async def repeat(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        return success(RESULT)

    async with registry() as tools:
        tools.add("repeat")
        tools.answers["repeat"] = repeat
        settings = {"ORCHESTRATOR_TOOL_REGISTRY__TARGET": tools.address}
        with (
            cluster(tmp_path, f"sqlite:///{tmp_path / 'data'}", **settings) as running,
            edge(tmp_path, running) as gateway,
        ):
            measured = [running.orchestrators[0], gateway]
            async with client(running) as stub, asyncio.timeout(100):
                for _ in range(2):  # What such tasks cost by themselves.
                    await watched(stub, (await stub.CreateTask(request)).task_id)
                before = [used_bytes(each) for each in measured]
                task_id = (await stub.CreateTask(request)).task_id
                clients = [stalled(gateway, task_id) for _ in range(STALLED)]
                events = await watched(stub, task_id)
                after = [used_bytes(each) for each in measured]
                seen = [await asyncio.to_thread(read_on, each) for each in clients]
    for each in clients:
        each.close()

    assert sum(event.ByteSize() for event in events) > HISTORY_BYTES
    assert seen == [[event.sequence for event in events]] * STALLED
    # All that they have not read would be seven megabytes each.
    for was, then in zip(before, after, strict=True):
        assert then - was < 2.5 * STALLED * 1024 * 1024
