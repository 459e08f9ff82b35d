"""Calls of tools through a real edge, over the real tool registry."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx2
import pytest

from services.chassis.errors import Unavailable
from services.chassis.settings import ClientSettings
from services.chassis.telling import Logged, Progress
from services.tool_registry.app import running
from services.tool_registry.domain.tool import Default
from services.tool_registry.ports import Invocation
from services.tool_registry.settings import Settings
from tests.integration.gateway.fakes import suite
from tests.integration.gateway.test_gateway_streams import events
from tests.integration.tool_registry.conftest import LOOPBACK, SHARED
from tests.unit.tool_registry.fakes import FakeTool, Waiting, raising

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = "/v1/tools/fake:stream"


@asynccontextmanager
async def edge(*tools: FakeTool) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an edge whose registry has these tools."""
    async with (
        asyncio.timeout(10),
        running(Settings(server=LOOPBACK), SHARED, more=tools) as registry,
        suite(tool_registry=ClientSettings(target=registry.address)) as opened,
        httpx2.AsyncClient(base_url=f"http://{opened.edge.address}", timeout=5) as client,
    ):
        yield client


async def telling(invocation: Invocation) -> object:
    """Tells of itself, and then answers."""
    invocation.report(Progress(1, 2, "reading"))
    invocation.report(Logged("notice", "half way"))
    await asyncio.sleep(0)
    return {"n": 84}


async def test_a_stream_is_events_by_type_and_the_last_is_the_answer() -> None:
    async with edge(FakeTool(told=telling)) as http:
        reply = await http.post(STREAM, json={"input": {}})

    seen = events(reply.text)
    said = {each["event"]: json.loads(each["data"]) for each in seen}
    assert reply.headers["content-type"] == "text/event-stream"
    assert [each["event"] for each in seen] == ["log", "progress", "response"]
    assert all("id" not in each for each in seen)
    assert said["log"]["log"] == {"level": "notice", "message": "half way"}
    assert said["progress"]["progress"] == {"progress": 1, "total": 2, "message": "reading"}
    assert said["response"]["response"]["status"] == "success"
    assert said["response"]["response"]["result"] == {"n": 84}


async def test_a_stream_may_be_lines_of_json() -> None:
    headers = {"accept": "application/x-ndjson"}

    async with edge(FakeTool(told=telling)) as http:
        reply = await http.post(STREAM, json={}, headers=headers)

    kinds = [json.loads(line)["type"] for line in reply.text.splitlines()]
    assert kinds == ["log", "progress", "response"]


async def test_a_client_that_leaves_a_stream_stops_the_tool() -> None:
    work = Waiting()

    async def told(invocation: Invocation) -> object:
        invocation.report(Progress(1))
        return await work({})

    async with edge(FakeTool(told=told)) as http:
        async with http.stream("POST", STREAM, json={}) as reply:
            first = await anext(reply.aiter_lines())
        await work.stopped.wait()

    assert first == "event: progress"


async def test_a_stream_that_is_refused_has_its_own_status() -> None:
    async with edge(FakeTool()) as http:
        reply = await http.post(STREAM, json={"input": {"text": 3}})

    assert (reply.status_code, reply.json()["error_code"]) == (400, "TOOL_INPUT_INVALID")
    assert reply.json()["schema_path"] == ["properties", "text", "type"]


async def test_an_open_circuit_is_told_with_when_to_come_back() -> None:
    tool = FakeTool(raising(Unavailable("PEER_UNAVAILABLE", "gone")))

    async with edge(tool) as http:
        replies = [await http.post("/v1/tools/fake:call", json={}) for _ in range(6)]
        shown = (await http.get("/v1/tools/fake")).json()

    assert [each.status_code for each in replies] == [503] * 6
    assert replies[-1].json()["error_code"] == "TOOL_CIRCUIT_OPEN"
    assert 10 <= int(replies[-1].headers["retry-after"]) <= 12
    assert (shown["circuit"], bool(shown["unavailable"])) == ("CIRCUIT_STATE_OPEN", True)


async def test_a_default_comes_with_its_warning_and_the_header_is_the_tools_key() -> None:
    tool = FakeTool(raising(Unavailable("PEER_UNAVAILABLE", "gone")), default=Default({"n": 0}))

    async with edge(tool) as http:
        reply = await http.post("/v1/tools/fake:call", json={}, headers={"Idempotency-Key": "k 1"})

    answer = reply.json()
    warned: Sequence[dict[str, str]] = answer["warnings"]
    assert (reply.status_code, answer["status"], answer["result"]) == (200, "success", {"n": 0})
    assert [each["code"] for each in warned] == ["TOOL_DEFAULTED"]
    assert [each.idempotency_key for each in tool.invocations] == ["k 1"]
