"""MCP's rules for requests, by hand: headers, envelopes, errors, limits, and who may ask."""

import asyncio
import json
from importlib import import_module
from typing import Any

import httpx2
import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from gateway.mcp import endpoint
from gateway.mcp.shortcut import Shortcut
from services.chassis.errors import Unavailable
from tests.integration.gateway.places import Place, placed
from tests.integration.gateway.rpc import (
    VERSION,
    envelope,
    error,
    headers,
    message,
    result,
    send,
)
from tests.integration.gateway.wire import request, wire
from tests.servers.registry import failed, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

Wire = dict[str, Any]
LEGACY = "2025-11-25"


async def post(place: Place, content: bytes, **headers: str) -> httpx2.Response:
    """Send whatever it is."""
    said = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **headers,
    }
    async with httpx2.AsyncClient(timeout=5) as http:
        return await http.post(place.mcp, content=content, headers=said)


async def test_the_server_says_what_it_is(place: Place) -> None:
    found = await result(place, "server/discover")

    assert found["supportedVersions"] == [VERSION]
    assert found["capabilities"]["tools"] == {"listChanged": True}
    assert found["capabilities"]["resources"] == {"subscribe": True, "listChanged": True}
    assert {"prompts", "completions"} <= found["capabilities"].keys()


@pytest.mark.parametrize("version", ["2025-06-18", LEGACY])
async def test_older_clients_shake_hands(place: Place, version: str) -> None:
    info = {"name": "old", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": info}
    sent = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}

    response = await post(place, json.dumps(sent).encode())

    assert response.status_code == 200
    assert "mcp-session-id" not in response.headers
    assert response.headers["x-accel-buffering"] == "no"
    (line,) = (each for each in response.text.splitlines() if each.startswith("data: {"))
    assert json.loads(line.removeprefix("data: "))["result"]["protocolVersion"] == version


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_posts_are_taken(place: Place, method: str) -> None:
    async with httpx2.AsyncClient(timeout=5) as http:
        response = await http.request(method, place.mcp)

    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")


@pytest.mark.parametrize(
    ("more", "without"),
    [
        ({"Mcp-Method": "prompts/list"}, ""),
        ({"Mcp-Method": "TOOLS/CALL"}, ""),
        ({}, "Mcp-Method"),
        ({"Mcp-Name": "another"}, ""),
        ({}, "Mcp-Name"),
        ({"MCP-Protocol-Version": "2027-01-01"}, ""),
    ],
)
async def test_headers_say_what_the_body_says(
    place: Place, more: dict[str, str], without: str
) -> None:
    place.tools.add("weather")
    sent = message("tools/call", {"name": "weather", "arguments": {}})

    response = await send(place, sent, more, without)

    body = response.json()
    assert (response.status_code, body["error"]["code"], body["id"]) == (400, -32020, 7)
    assert not place.tools.called


@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "*/*"])
async def test_blanks_around_a_header_s_value_do_not_count(place: Place, accept: str) -> None:
    place.tools.add("weather")
    sent = message("tools/call", {"name": "weather", "arguments": {}})
    lines = {**headers(sent), "Accept": accept, "Mcp-Name": "  weather \t"}
    body = json.dumps(sent).encode()

    async with wire(int(place.url.rpartition(":")[2])) as client:
        given = [f"{name}: {value}" for name, value in lines.items()]
        await client.send(request("POST", "/mcp", body, *given))
        status, _, _ = await client.answer()

    assert status == 200


async def test_a_version_that_is_not_spoken_is_refused_with_those_that_are(place: Place) -> None:
    sent = message("tools/list")
    sent["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2027-01-01"

    response = await send(place, sent, {"MCP-Protocol-Version": "2027-01-01"})

    said = response.json()["error"]
    assert (response.status_code, said["code"]) == (400, -32022)
    assert said["data"] == {"supported": [VERSION], "requested": "2027-01-01"}


@pytest.mark.parametrize("key", list(envelope()))
async def test_a_request_without_its_envelope_is_refused(place: Place, key: str) -> None:
    sent = message("tools/list")
    del sent["params"]["_meta"][key]

    response = await send(place, sent)

    assert (response.status_code, response.json()["error"]["code"]) == (400, -32602)


async def test_an_argument_that_stands_in_a_header_is_the_same_there(place: Place) -> None:
    schema = {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    }
    place.tools.add("weather", input_schema=schema)
    sent = message("tools/call", {"name": "weather", "arguments": {"region": "north"}})

    right = await send(place, sent, {"Mcp-Param-Region": "north"})
    wrong = await send(place, sent, {"Mcp-Param-Region": "south"})
    missing = await send(place, sent)

    assert right.status_code == 200
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, -32020)
    assert missing.status_code == 400
    assert len(place.tools.called) == 1


@pytest.mark.parametrize("method", ["ping", "initialize", "logging/setLevel", "nothing/such"])
async def test_a_method_that_is_not_there_is_not_found(place: Place, method: str) -> None:
    status, said = await error(place, method)

    assert (status, said["code"]) == (404, -32601)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, -32700),
        (b"[]", 400, -32600),
        (b"\xff", 400, -32700),
        (b'{"jsonrpc": "2.0", "id": null, "method": "tools/list"}', 400, -32600),
        (b"[" * 300 + b"]" * 300, 400, -32600),
        (b'{"a": "' + b"a" * 3_000_000 + b'"}', 413, -32600),
    ],
    ids=["cut", "batch", "no text", "no id", "deep", "large"],
)
async def test_what_is_no_request_is_refused(
    place: Place, content: bytes, status: int, code: int
) -> None:
    response = await post(place, content, **{"MCP-Protocol-Version": VERSION})

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_a_name_that_is_there_twice_is_refused(place: Place) -> None:
    content = json.dumps(message("tools/call", {"name": "weather"})).replace(
        '"weather"', '"weather", "name": "other"'
    )

    response = await post(place, content.encode(), **{"MCP-Protocol-Version": VERSION})

    said = response.json()["error"]
    assert (response.status_code, said["code"]) == (400, -32600)
    assert said["data"]["details"][0]["metadata"]["field"] == "params.name"


async def spelt(place: Place, sent: Wire, plain: str, escaped: str) -> Wire:
    """The last that comes of a request in which something is written by escapes."""
    content = json.dumps(sent).replace(plain, escaped).encode()
    async with httpx2.AsyncClient(timeout=5) as http:
        response = await http.post(place.mcp, content=content, headers=headers(sent))
    *_, last = (line for line in response.text.splitlines() if line)
    found: Wire = json.loads(last.removeprefix("data: "))
    return found


async def test_an_agent_may_be_called_by_a_name_with_escapes(place: Place) -> None:
    await place.agent("escaped")
    sent = message("tools/call", {"name": "agent__escaped", "arguments": {"query": "Hi"}})

    last = await spelt(place, sent, "agent__", "agent\\u005f_")

    assert last["result"]["structuredContent"]["answer"] == "Hi"


async def test_progress_may_be_asked_for_with_escapes(place: Place) -> None:
    async def answer(request: Any, tell: Any) -> Any:
        await tell(pb.ToolCallEvent(type="progress", progress=pb.ToolProgress(progress=1)))
        return success({"done": True})

    place.tools.add("cook", reports_progress=True)
    place.tools.answers["cook"] = answer
    await result(place, "tools/list")
    sent = message("tools/call", {"name": "cook", "arguments": {}})
    sent["params"]["_meta"]["progressToken"] = 1

    last = await spelt(place, sent, "progressToken", "progress\\u0054oken")

    assert last["result"]["structuredContent"] == {"done": True}


@pytest.mark.parametrize("accept", ["text/html", "text/event-stream"])
async def test_a_client_that_takes_no_json_is_refused(place: Place, accept: str) -> None:
    response = await send(place, message("tools/list"), {"Accept": accept})

    assert response.status_code == 406


async def test_a_body_that_is_no_json_by_its_own_words_is_refused(place: Place) -> None:
    response = await send(place, message("tools/list"), {"Content-Type": "text/plain"})

    assert (response.status_code, response.json()["error"]["code"]) == (415, -32600)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Origin": "https://elsewhere.example"}, "ORIGIN_NOT_ALLOWED"),
        ({"Host": "rebound.example"}, "HOST_NOT_ALLOWED"),
    ],
)
async def test_pages_from_elsewhere_are_refused(
    place: Place, headers: dict[str, str], reason: str
) -> None:
    response = await send(place, message("tools/list"), headers)

    assert (response.status_code, response.json()["error_code"]) == (403, reason)


async def test_a_notification_is_acknowledged(place: Place) -> None:
    sent = {"jsonrpc": "2.0", "method": "notifications/initialized"}

    for version in (VERSION, LEGACY):
        response = await post(place, json.dumps(sent).encode(), **{"MCP-Protocol-Version": version})
        assert (response.status_code, response.content) == (202, b"")


async def test_answers_carry_the_request_s_id(place: Place) -> None:
    response = await send(place, message("tools/list"), {"X-Request-Id": "req_mine"})

    assert response.headers["x-request-id"] == "req_mine"
    assert response.headers["content-type"] == "application/json"


async def test_a_call_s_time_may_be_cut(place: Place) -> None:
    async def answer(request: Any, tell: Any) -> Any:
        await asyncio.Event().wait()

    place.tools.add("wait")
    place.tools.answers["wait"] = answer
    sent = message("tools/call", {"name": "wait", "arguments": {}})

    response = await send(place, sent, {"X-Request-Timeout": "100ms"})

    said = response.json()["error"]
    assert (said["code"], said["data"]["error_code"]) == (-32603, "DEADLINE_EXCEEDED")


async def test_an_edge_that_has_too_much_to_do_says_so() -> None:
    async with placed(limits={"max_requests": 1}) as busy:
        busy.tools.add("wait")
        arrived = asyncio.Event()

        async def answer(request: Any, tell: Any) -> Any:
            arrived.set()
            await asyncio.Event().wait()

        busy.tools.answers["wait"] = answer
        sent = message("tools/call", {"name": "wait", "arguments": {}})
        async with asyncio.timeout(5):
            waiting = asyncio.ensure_future(send(busy, sent))
            await arrived.wait()
            response = await send(busy, message("tools/list"))
            waiting.cancel()

    said = response.json()["error"]
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert (said["code"], said["data"]["error_code"]) == (-32603, "EDGE_OVERLOADED")


async def test_an_edge_that_stops_tells_those_who_wait() -> None:
    arrived = asyncio.Event()

    async def answer(request: Any, tell: Any) -> Any:
        arrived.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        async with placed() as stopping:
            stopping.tools.add("wait")
            stopping.tools.answers["wait"] = answer
            sent = message("tools/call", {"name": "wait", "arguments": {}})
            waiting = asyncio.ensure_future(send(stopping, sent))
            await arrived.wait()
        response = await waiting

    said = response.json()["error"]
    assert (said["code"], said["data"]["error_code"]) == (-32603, "EDGE_STOPPING")


CALLS: list[Any] = [
    message("tools/call", {"name": "weather", "arguments": {"city": "Oslo"}}),
    message("tools/call", {"name": "weather"}, number="seven"),
    message("tools/call", {"name": "failing", "arguments": {}}),
    message("tools/call", {"name": "broken", "arguments": {}}),
    message("tools/call", {"name": "refusing", "arguments": {}}),
    message("tools/call", {"name": "text", "arguments": {}}),
    message("tools/call", {"name": "said", "arguments": {}}),
    message("tools/call", {"name": "blurred", "arguments": {}}),
    message("tools/call", {"name": "nothing", "arguments": {}}),
    message("tools/call", {"name": "weather", "arguments": [1]}),
    message("tools/call", {"name": 7, "arguments": {}}),
    message("tools/call", {"arguments": {}}),
    message("tools/call", {"name": "agent__nobody", "arguments": {"query": "Hi"}}),
    message("tools/list"),
    message("tools/list", {"cursor": "nonsense"}),
    message("tools/list", {"cursor": 7}),
    {**message("tools/list"), "jsonrpc": "1.0"},
    {**message("tools/list"), "id": 1.5},
    {**message("tools/list"), "id": None},
    {**message("tools/list"), "params": []},
]


@pytest.mark.parametrize("sent", CALLS, ids=lambda each: json.dumps(each)[:60])
async def test_the_short_way_answers_as_the_sdk_does(
    place: Place, monkeypatch: pytest.MonkeyPatch, sent: Any
) -> None:
    responses = {
        "weather": success({"temperature": 3}),
        "failing": failed("TOO_HARD", "it is too hard"),
        "refusing": failed("MCP_REFUSED", "no"),
        "text": success("hello"),
        "said": success({"content": [{"type": "text", "text": "hello"}]}),
        "blurred": success({"content": [{"type": "image", "data": "aGk="}]}),
    }

    async def answer(request: Any, tell: Any) -> Any:
        if request.name == "broken":
            raise Unavailable("TOOL_CIRCUIT_OPEN", "it failed too often")
        return type(responses[request.name]).FromString(responses[request.name].SerializeToString())

    for name in (*responses, "broken"):
        place.tools.add(name)
        place.tools.answers[name] = answer

    async def never(*_: object) -> bool:
        return False

    own = {"X-Request-Id": "req_1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    short = await send(place, sent, own)
    monkeypatch.setattr(Shortcut, "answered", never)
    whole = await send(place, sent, own)

    assert (short.status_code, short.json()) == (whole.status_code, whole.json())


async def test_most_calls_take_the_short_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    answered = Shortcut.answered

    async def watched(*given: Any) -> bool:
        taken.append(await answered(*given))
        return taken[-1]

    monkeypatch.setattr(Shortcut, "answered", watched)
    place.tools.add("weather")
    await send(place, message("tools/call", {"name": "weather", "arguments": {}}))
    await send(place, message("tools/list"))
    await send(place, message("prompts/list"))

    assert taken == [True, True, False]


async def test_a_server_that_does_not_load_is_tried_anew_by_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_broken = asyncio.Event()
    is_broken.set()

    def loaded(name: str) -> object:
        if is_broken.is_set():
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr(endpoint, "import_module", loaded)
    async with asyncio.timeout(10), placed() as place:
        broken = await asyncio.gather(*(send(place, message("tools/list")) for _ in range(3)))
        is_broken.clear()
        mended = await send(place, message("tools/list"))

    assert [each.status_code for each in broken] == [500] * 3
    assert {each.json()["error"]["data"]["error_code"] for each in broken} == {"INTERNAL"}
    assert mended.status_code == 200
