"""Conversations over WebSockets: clients that leave, sides that do not read, an edge that stops."""

import asyncio
import json
from datetime import timedelta

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection

from tests.integration.gateway.fakes import Script, Suite, suite
from tests.integration.gateway.talk import START, ending, handshake, refusal, socket

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("is_abrupt", [True, False])
async def test_a_client_that_leaves_cancels_the_call(edge: Suite, is_abrupt: bool) -> None:
    edge.script.messages, edge.script.hangs = 1, True
    async with asyncio.timeout(5), socket(edge) as client:
        await client.send(START)
        await client.recv()
        if is_abrupt:
            client.transport.abort()
        else:
            await client.close()
        await edge.script.cancelled.wait()


async def test_a_client_that_leaves_before_it_says_anything_frees_its_place() -> None:
    async with suite(limits={"max_requests": 1}) as edge, asyncio.timeout(5):
        async with socket(edge):
            full, _ = await refusal(edge)
        status = full
        while status == full:  # It is freed soon after, not before.
            status = await handshake(edge)

    assert (full, status) == (503, 101)


async def test_a_client_that_leaves_a_service_behind_that_does_not_read_cancels_the_call() -> None:
    script = Script(messages=1)
    script.reads.clear()
    beat, limits = timedelta(milliseconds=50), {"pong_timeout": timedelta(milliseconds=700)}
    frame = json.dumps({"user_message": {"text": "x" * 1_000_000}})

    async def flood(client: ClientConnection) -> None:
        while True:
            await client.send(frame)

    async with suite(script, heartbeat=beat, limits=limits) as edge, asyncio.timeout(15):
        async with socket(edge) as client, asyncio.TaskGroup() as group:
            await client.send(START)
            await client.recv()
            flooding = group.create_task(flood(client))
            async with httpx2.AsyncClient(base_url=f"http://{edge.edge.address}") as http:
                for _ in range(50):  # Meanwhile all buffers fill.
                    await http.get("/healthz")
            client.transport.abort()
            flooding.cancel()
        await script.cancelled.wait()


async def test_a_client_that_does_not_read_stops_the_flow(edge: Suite) -> None:
    script = edge.script
    script.messages, script.text = 3000, "x" * 10_000
    async with (
        socket(edge, max_queue=1) as idle,
        socket(edge) as busy,
        asyncio.timeout(20),
    ):
        await idle.send(START)
        await idle.recv()
        await busy.send(START)
        for _ in range(script.messages):
            await busy.recv()
        stopped_at = script.sent[0]  # What began before has had as much time.
        rest = [json.loads(await idle.recv())["sequence"] for _ in range(script.messages - 1)]

    assert stopped_at < 2000
    assert rest == list(range(2, 3001))


async def test_a_service_that_does_not_read_stops_the_client(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    script, frames, sent = edge.script, 800, 0
    script.messages = 1
    script.reads.clear()
    frame = json.dumps({"user_message": {"text": "x" * 50_000}})

    async def flood(client: ClientConnection) -> None:
        nonlocal sent
        for _ in range(frames):
            await client.send(frame)
            sent += 1

    async with socket(edge) as client, asyncio.timeout(30), asyncio.TaskGroup() as group:
        await client.send(START)
        await client.recv()
        group.create_task(flood(client))
        for _ in range(50):  # Meanwhile all buffers fill.
            await http.get("/healthz")
        stopped_at = sent
        script.reads.set()
        for _ in range(frames):
            await client.recv()

    assert stopped_at < frames / 2


@pytest.mark.parametrize(
    ("said", "grace"),
    [
        ('{"join": {"task_id": "task_1"}}', 30.0),  # Can be joined again elsewhere: ends at once.
        ("", 30.0),  # Has not begun.
        (START, 0.05),
    ],
)
async def test_a_socket_ends_with_an_error_when_the_edge_stops(said: str, grace: float) -> None:
    script = Script(messages=1, hangs=True)
    async with asyncio.timeout(10):
        async with suite(script, grace=timedelta(seconds=grace)) as edge:
            client = await socket(edge)
            if said:
                await client.send(said)
                await client.recv()
        texts, code, reason = await ending(client)

    assert json.loads(texts[-1])["error_code"] == "EDGE_STOPPING"
    assert (code, reason) == (1013, "EDGE_STOPPING")


async def test_a_conversation_may_end_within_the_grace_period() -> None:
    script = Script(messages=1, hangs=True)

    async def release() -> None:
        async with httpx2.AsyncClient() as http:
            while (await http.get(f"http://{address}/readyz")).json()["status"] != "stopping":
                pass
        script.hangs = False
        script.released.set()
        await client.send('{"cancel": {}}')

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        async with suite(script, grace=timedelta(seconds=8)) as edge:
            address = edge.edge.address
            client = await socket(edge)
            await client.send(START)
            await client.recv()
            group.create_task(release())
        texts, code, _ = await ending(client)

    assert [json.loads(text)["type"] for text in texts] == ["cancel"]
    assert code == 1000
