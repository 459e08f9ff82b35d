"""Conversations over WebSockets: what goes in and out, and what is refused."""

import asyncio
import json

import httpx2
import pytest

from services.chassis.errors import NotFound, ResourceExhausted, Unavailable
from services.chassis.settings import ClientSettings
from tests.integration.gateway.fakes import Suite, suite
from tests.integration.gateway.talk import PATH, START, ending, refusal, socket

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMALL = {"max_body_bytes": 1024}


async def test_each_event_is_a_frame_with_the_bytes_that_an_event_stream_has(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    stream = await http.post("/v1/agent/stream", json={"query": "x"})
    lines = stream.text.split("\n")
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    async with socket(edge) as client, asyncio.timeout(5):
        await client.send(START)
        frames = [await client.recv() for _ in range(3)]

    assert frames == events


async def test_both_sides_talk_as_often_as_they_like(edge: Suite) -> None:
    async with socket(edge) as client, asyncio.timeout(5):
        await client.send(START)
        for _ in range(3):
            await client.recv()
        said = []
        for text in ("a", "ü 𝄞", "c"):
            await client.send(json.dumps({"user_message": {"text": text}}))
            said.append(json.loads(await client.recv())["text"])
        await client.send('{"tool_result": {"tool_call_id": "call_1", "output": {"value": 84}}}')
        await client.recv()

    assert said == ["a", "ü 𝄞", "c"]
    assert edge.script.requests[4].tool_result.output.struct_value["value"] == 84


async def test_frames_sent_in_one_go_arrive_in_order(edge: Suite) -> None:
    edge.script.messages = 0
    async with socket(edge) as client, asyncio.timeout(10):
        await client.send(START)
        for number in range(500):
            await client.send(json.dumps({"user_message": {"text": str(number)}}))
        said = [json.loads(await client.recv())["text"] for _ in range(500)]

    assert said == [str(number) for number in range(500)]


async def test_the_end_of_the_call_closes_the_socket(edge: Suite) -> None:
    async with socket(edge) as client:
        await client.send('{"cancel": {"reason": "enough"}}')
        texts, code, reason = await ending(client)

    assert [json.loads(text)["type"] for text in texts] == ["cancel"]
    assert (code, reason) == (1000, "")


async def test_headers_become_metadata_and_deadline(edge: Suite) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {
        "X-Request-Id": "mine-1",
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        "Idempotency-Key": "once",
        "runplane-version": "1.0",
        "X-Request-Timeout": "7s",
    }
    async with socket(edge, additional_headers=headers) as client, asyncio.timeout(5):
        await client.send(START)
        await client.recv()
        answered = client.response.headers if client.response else {}

    metadata, left = edge.script.metadata[0], edge.script.remaining[0]
    assert answered["x-request-id"] == metadata["x-request-id"] == "mine-1"
    assert str(metadata["traceparent"]).split("-")[1] == trace
    assert (metadata["idempotency-key"], metadata["runplane-version"]) == ("once", "1.0")
    assert left is not None
    assert 5 < left < 8


@pytest.mark.parametrize(
    ("error", "http", "reason", "code"),
    [
        (NotFound("TASK_NOT_FOUND", "no such task"), 404, "TASK_NOT_FOUND", 1008),
        (ResourceExhausted("TOO_MANY_TASKS", "full"), 429, "TOO_MANY_TASKS", 1013),
        (Unavailable("ENGINE_FAILED", "gone"), 503, "ENGINE_FAILED", 1013),
        (RuntimeError("a bug"), 500, "INTERNAL", 1011),
    ],
)
async def test_a_failure_is_the_last_frame_and_a_code(
    edge: Suite, error: Exception, http: int, reason: str, code: int
) -> None:
    edge.script.error, edge.script.error_after = error, 2
    async with socket(edge) as client:
        await client.send(START)
        texts, closed, why = await ending(client)

    *events, last = map(json.loads, texts)
    assert [event["sequence"] for event in events] == [1, 2]
    assert (last["status"], last["code"], last["error_code"]) == ("error", http, reason)
    assert (closed, why) == (code, reason)


async def test_a_service_that_is_away_is_to_be_tried_again() -> None:
    nowhere = ClientSettings(target="127.0.0.1:1")
    async with suite(orchestrator=nowhere) as edge, socket(edge) as client:
        await client.send(START)
        texts, code, reason = await ending(client)

    assert json.loads(texts[-1])["code"] == 503
    assert (code, reason) == (1013, "SERVICE_UNAVAILABLE")


async def test_a_conversation_that_runs_out_of_time_says_so(edge: Suite) -> None:
    edge.script.hangs = True
    async with socket(edge, additional_headers={"X-Request-Timeout": "200ms"}) as client:
        await client.send(START)
        texts, code, _ = await ending(client)

    assert json.loads(texts[-1])["error_code"] == "DEADLINE_EXCEEDED"
    assert code == 1011


@pytest.mark.parametrize(
    ("frame", "reason", "field"),
    [
        ("", "JSON_INVALID", "body"),
        ("{", "JSON_INVALID", "body"),
        ("[]", "INVALID_REQUEST", "body"),
        ('{"strt": {}}', "INVALID_REQUEST", "strt"),
        ('{"start": {"query": 1}}', "INVALID_REQUEST", "start.query"),
        ('{"user_message": {"text": "a"}, "cancel": {}}', "INVALID_REQUEST", "cancel"),
        ('{"tool_result": {"output": ' + "[" * 20_000, "JSON_INVALID", "body"),
        ('{"tool_result": {"output": 9007199254740993}}', "INVALID_REQUEST", "tool_result.output"),
        ('{"user_message": {"text": "\\ud800"}}', "JSON_INVALID", "body"),
    ],
)
async def test_a_bad_frame_ends_the_call_and_names_the_fault(
    edge: Suite, frame: str, reason: str, field: str
) -> None:
    edge.script.hangs = True
    async with socket(edge) as client, asyncio.timeout(5):
        await client.send(START)
        await client.recv()
        await client.send(frame)
        texts, code, why = await ending(client)
        await edge.script.cancelled.wait()

    error = json.loads(texts[-1])
    info = error["details"][0]["metadata"]
    assert (error["code"], error["error_code"], info["field"]) == (400, reason, field)
    assert error["suggested_fix"]
    assert (code, why) == (1008, reason)
    assert len(edge.script.requests) == 1


async def test_a_binary_frame_is_refused(edge: Suite) -> None:
    async with socket(edge) as client:
        await client.send(START.encode())
        texts, code, reason = await ending(client)

    assert json.loads(texts[-1])["code"] == 415
    assert (code, reason) == (1003, "MEDIA_TYPE_UNSUPPORTED")
    assert not edge.script.requests


@pytest.mark.parametrize("parts", [["x" * 1025], ["x" * 600, "x" * 600], ["x" * 3_000_000]])
async def test_a_frame_that_is_too_large_is_refused_before_it_is_whole(parts: list[str]) -> None:
    async with suite(limits=SMALL) as edge, socket(edge) as client:
        await client.send(START)
        await client.recv()
        await client.send(parts if len(parts) > 1 else parts[0])
        texts, code, reason = await ending(client)

    error = json.loads(texts[-1])
    assert (error["code"], error["error_code"]) == (413, "BODY_TOO_LARGE")
    assert error["details"][0]["metadata"]["field"] == "body"
    assert (code, reason) == (1008, "BODY_TOO_LARGE")


async def test_a_frame_of_the_largest_size_is_taken() -> None:
    text = "x" * (1024 - len('{"user_message":{"text":""}}'))
    async with suite(limits=SMALL) as edge, socket(edge) as client, asyncio.timeout(5):
        await client.send('{"user_message":{"text":"' + text + '"}}')
        answer = json.loads(await client.recv())

    assert answer["text"] == text


async def test_a_message_in_fragments_is_one_message(edge: Suite) -> None:
    async with socket(edge) as client, asyncio.timeout(5):
        await client.send(['{"user_message": {"text', *[""] * 100, '": "a', "b", '"}}'])
        answer = json.loads(await client.recv())

    assert answer["text"] == "ab"


async def test_a_plain_get_is_told_what_is_there(edge: Suite, http: httpx2.AsyncClient) -> None:
    reply = await http.get(PATH)

    assert (reply.status_code, reply.json()["error_code"]) == (426, "UPGRADE_REQUIRED")
    assert reply.headers["upgrade"] == "websocket"
    assert "ws://" in reply.json()["suggested_fix"]


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/nowhere", 404, "ROUTE_NOT_FOUND"),
        ("/healthz", 400, "UPGRADE_NOT_OFFERED"),
        ("/v1/agent/stream", 405, "METHOD_NOT_ALLOWED"),
        (f"{PATH}?query=x", 400, "INVALID_REQUEST"),
    ],
)
async def test_where_no_socket_is_the_answer_is_http(
    edge: Suite, path: str, status: int, reason: str
) -> None:
    answered, body = await refusal(edge, path)

    assert (answered, body["error_code"]) == (status, reason)


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("runplane-version", "9.9", "PROTOCOL_VERSION_UNSUPPORTED"),
        ("x-request-timeout", "soon", "INVALID_REQUEST"),
        ("x-request-id", "a b", "INVALID_REQUEST"),
    ],
)
async def test_bad_headers_are_refused_before_the_handshake(
    edge: Suite, header: str, value: str, reason: str
) -> None:
    status, body = await refusal(edge, **{header: value})

    assert (status, body["error_code"]) == (400, reason)
    assert not edge.script.arrived.is_set()


async def test_a_page_from_elsewhere_opens_no_socket(edge: Suite) -> None:
    status, body = await refusal(edge, Origin="https://elsewhere.example")

    assert (status, body["error_code"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert "GATEWAY_ALLOWED_ORIGINS" in body["suggested_fix"]


async def test_a_page_of_the_edge_or_of_an_allowed_origin_opens_one() -> None:
    async with suite(allowed_origins="https://app.example") as edge, asyncio.timeout(5):
        for origin in (f"http://{edge.edge.address}", "https://app.example"):
            async with socket(edge, origin=origin) as client:
                await client.send(START)
                event = json.loads(await client.recv())

                assert event["sequence"] == 1


async def test_sockets_count_as_requests() -> None:
    async with suite(limits={"max_requests": 1}) as edge, socket(edge) as client:
        status, body = await refusal(edge)
        await client.send(START)
        event = json.loads(await client.recv())

    assert (status, body["error_code"]) == (503, "EDGE_OVERLOADED")
    assert event["sequence"] == 1
