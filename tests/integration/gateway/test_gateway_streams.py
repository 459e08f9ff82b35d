"""Server-streaming RPCs as server-sent events and NDJSON."""

import asyncio
import json
from datetime import timedelta

import httpx2
import pytest

from services.chassis.errors import NotFound, Unavailable
from tests.integration.gateway.fakes import Script, Suite, suite
from tests.integration.gateway.wire import request, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

INVOKE = request("POST", "/v1/agent/stream", b'{"query": "x"}')


def events(text: str) -> list[dict[str, str]]:
    """The events of a stream, as their fields."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


async def test_a_stream_is_events_with_type_sequence_and_json(http: httpx2.AsyncClient) -> None:
    reply = await http.post("/v1/agent/stream", json={"query": "x"})

    seen = events(reply.text)
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-accel-buffering"] == "no"
    assert [(each["event"], each["id"]) for each in seen] == [
        ("message_delta", "1"),
        ("message_delta", "2"),
        ("message_delta", "3"),
    ]
    assert json.loads(seen[0]["data"]) == {
        "type": "message_delta",
        "task_id": "task_1",
        "sequence": 1,
        "text": "hello",
    }


async def test_a_stream_may_be_lines_of_json(http: httpx2.AsyncClient) -> None:
    headers = {"accept": "application/x-ndjson"}

    reply = await http.post("/v1/agent/stream", json={"query": "x"}, headers=headers)

    assert reply.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["sequence"] for line in reply.text.splitlines()] == [1, 2, 3]


async def test_who_takes_json_alone_gets_lines_of_it(http: httpx2.AsyncClient) -> None:
    headers = {"accept": "application/json"}

    reply = await http.post("/v1/agent/stream", json={"query": "x"}, headers=headers)

    assert reply.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["sequence"] for line in reply.text.splitlines()] == [1, 2, 3]


async def test_a_stream_in_no_form_the_client_takes_is_406(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    headers = {"accept": "image/png"}

    reply = await http.post("/v1/agent/stream", json={"query": "x"}, headers=headers)

    assert (reply.status_code, reply.json()["error_code"]) == (406, "NOT_ACCEPTABLE")
    assert not edge.script.requests


async def test_the_last_event_id_resumes_a_watch(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/tasks/t:watch?after_sequence=1", headers={"Last-Event-ID": "4"})

    assert [each["id"] for each in events(reply.text)] == ["5", "6", "7"]


async def test_lines_and_text_in_a_message_stay_one_event(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    edge.script.text = "a\n\ndata: b\r\nevent: x 𝄞"

    reply = await http.post("/v1/agent/stream", json={"query": "x"})

    assert json.loads(events(reply.text)[0]["data"])["text"] == edge.script.text


async def test_a_stream_without_messages_is_empty(edge: Suite, http: httpx2.AsyncClient) -> None:
    edge.script.messages = 0

    reply = await http.get("/v1/tasks/t:watch")

    assert (reply.status_code, reply.text) == (200, "")
    assert reply.headers["content-type"] == "text/event-stream"


async def test_many_messages_arrive_in_order(edge: Suite, http: httpx2.AsyncClient) -> None:
    edge.script.messages = 2000

    reply = await http.get("/v1/tasks/t:watch")

    assert [int(each["id"]) for each in events(reply.text)] == list(range(1, 2001))


async def test_a_failure_before_the_first_message_has_its_own_status(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    edge.script.error = NotFound("TASK_NOT_FOUND", "no such task")

    reply = await http.get("/v1/tasks/t:watch")

    assert (reply.status_code, reply.json()["error_code"]) == (404, "TASK_NOT_FOUND")
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_failure_in_the_middle_is_the_last_message(
    edge: Suite, http: httpx2.AsyncClient, accept: str
) -> None:
    edge.script.error, edge.script.error_after = Unavailable("ENGINE_FAILED", "gone"), 2

    reply = await http.get("/v1/tasks/t:watch", headers={"accept": accept})

    if accept == "text/event-stream":
        *messages, last = events(reply.text)
        assert last["event"] == "error"
        said = json.loads(last["data"])
    else:
        *messages, said = map(json.loads, reply.text.splitlines())
    assert len(messages) == 2
    assert (said["code"], said["error_code"]) == (503, "ENGINE_FAILED")
    assert said["request_id"] == reply.headers["x-request-id"]


async def test_the_first_message_does_not_wait_for_the_second(edge: Suite) -> None:
    edge.script.messages, edge.script.hangs = 1, True
    async with wire(edge.port) as client, asyncio.timeout(5):
        await client.send(INVOKE)
        status, _ = await client.head()
        first = await client.reader.readuntil(b"\n\n")

    assert status == 200
    assert b'"sequence":1' in first


async def test_a_client_that_leaves_a_stream_cancels_the_call(edge: Suite) -> None:
    edge.script.messages, edge.script.hangs = 1, True
    async with asyncio.timeout(5):
        async with wire(edge.port) as client:
            await client.send(INVOKE)
            await client.reader.readuntil(b"\n\n")
        await edge.script.cancelled.wait()


async def test_a_client_that_leaves_before_the_first_message_cancels_the_call(edge: Suite) -> None:
    edge.script.messages, edge.script.hangs = 0, True
    async with asyncio.timeout(5):
        async with wire(edge.port) as client:
            await client.send(INVOKE)
            await edge.script.arrived.wait()
        await edge.script.cancelled.wait()


async def test_a_client_that_leaves_a_unary_call_cancels_it(edge: Suite) -> None:
    edge.script.hangs = True
    async with asyncio.timeout(5):
        async with wire(edge.port) as client:
            await client.send(request("POST", "/v1/agent/invoke", b'{"query": "x"}'))
            await edge.script.arrived.wait()
        await edge.script.cancelled.wait()


async def test_an_idle_stream_shows_that_it_lives() -> None:
    script = Script(messages=1, hangs=True)
    beat = timedelta(milliseconds=20)
    async with (
        suite(script, heartbeat=beat) as edge,
        asyncio.timeout(5),
        wire(edge.port) as client,
    ):
        await client.send(INVOKE)
        await client.reader.readuntil(b": heartbeat\n\n")
        await client.reader.readuntil(b": heartbeat\n\n")


async def test_a_stream_that_has_nothing_yet_opens_after_a_while() -> None:
    script = Script(messages=0, hangs=True, error_after=0)
    beat = timedelta(milliseconds=20)
    async with (
        suite(script, heartbeat=beat) as edge,
        asyncio.timeout(5),
        wire(edge.port) as client,
    ):
        await client.send(request("GET", "/v1/tasks/t:watch"))
        status, headers = await client.head()

    assert (status, headers["content-type"]) == (200, "text/event-stream")


async def test_a_client_that_does_not_read_stops_the_flow(edge: Suite) -> None:
    script = edge.script
    script.messages, script.text = 3000, "x" * 10_000
    async with wire(edge.port) as idle, wire(edge.port) as busy, asyncio.timeout(20):
        await idle.send(INVOKE)
        await idle.head()
        await busy.send(INVOKE)
        while len(script.sent) < 2 or script.sent[1] < script.messages:
            assert await busy.reader.read(1 << 20)
        stopped_at = script.sent[0]  # What began before has had as much time.
        while script.sent[0] < script.messages:
            assert await idle.reader.read(1 << 20)

    assert stopped_at < 2000


async def test_a_stream_that_runs_out_of_time_says_so(edge: Suite) -> None:
    edge.script.messages, edge.script.hangs = 1, True
    async with httpx2.AsyncClient(base_url=f"http://{edge.edge.address}") as http:
        headers = {"X-Request-Timeout": "200ms"}
        reply = await http.post("/v1/agent/stream", json={"query": "x"}, headers=headers)

    last = events(reply.text)[-1]
    assert last["event"] == "error"
    assert json.loads(last["data"])["code"] == 504
