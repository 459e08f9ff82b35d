"""MCP clients before 2026-07-28 that are asked something, at several edges: none keeps anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from tests.e2e.replicas import SOON, Process, cluster, edge, is_ready
from tests.e2e.running import until
from tests.integration.gateway.handshaken import Handshaken, handshaken
from tests.servers.registry import Told, asks, registry, success

FORMS = {"elicitation": {}}
SCHEMA = {"type": "object", "properties": {"day": {"type": "integer"}}, "required": ["day"]}
DAY = {
    "method": "elicitation/create",
    "params": {"message": "Which day?", "requestedSchema": SCHEMA},
}
SEVEN = {"action": "accept", "content": {"day": 7}}
EIGHT = {"action": "accept", "content": {"day": 8}}


@dataclass(frozen=True)
class Place:
    """Two edges before one orchestrator."""

    here: Process
    there: Process
    orchestrator: Process

    @property
    def urls(self) -> tuple[str, str]:
        """Where MCP clients go."""
        return f"http://{self.here.address}/mcp", f"http://{self.there.address}/mcp"

    def restart(self) -> None:
        """Kill the orchestrator, and start another in its place."""
        self.orchestrator.kill()
        self.orchestrator.start()
        until(lambda: is_ready(self.orchestrator))

    async def until(self, status: str) -> None:
        """Wait until the newest task, which is the call, is so."""
        url = f"http://{self.there.address}/v1/tasks"

        def holds() -> bool:
            found = httpx2.get(url).json().get("tasks")  # None while the orchestrator is away.
            return bool(found and found[0]["status"] == status)

        await asyncio.to_thread(until, holds)


async def book(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
    """Asks for two days, and says what it was told."""
    if not request.HasField("input_responses"):
        return asks({"from": DAY, "to": DAY}, "sealed")
    return success({"told": MessageToDict(request.input_responses)})


@asynccontextmanager
async def placed(folder: Path) -> AsyncIterator[Place]:
    async with registry() as tools, asyncio.timeout(100):
        tools.add("book")
        tools.answers["book"] = book
        at = SOON | {"ORCHESTRATOR_TOOL_REGISTRY__TARGET": tools.address}
        mine = {"GATEWAY_TOOL_REGISTRY__TARGET": tools.address}
        with cluster(folder / "cluster", f"sqlite:///{folder / 'data'}", **at) as running:
            folders = [folder / name for name in ("here", "there")]
            for each in folders:
                each.mkdir()
            with edge(folders[0], running, **mine) as here, edge(folders[1], running, **mine) as it:
                yield Place(here, it, running.orchestrators[0])


async def test_a_call_at_one_edge_is_answered_at_another(tmp_path: Path) -> None:
    async with placed(tmp_path) as place:
        here, there = place.urls
        async with handshaken(here, FORMS) as it, it.calling("book") as call:
            first, second = await call.asked(), await call.asked()
            taken = [
                await it.answer(first, SEVEN, there),
                await it.answer(first, EIGHT, here),
                await it.answer(second, {"action": "accept", "content": {"day": "x"}}, there),
                await it.answer(second, EIGHT, there),
            ]
            result = await call.result()

    told = result["structuredContent"]["told"]
    assert [each.status_code for each in taken] == [202, 202, 400, 202]
    assert sorted(each["content"]["day"] for each in told.values()) == [7, 8]


async def test_an_edge_that_dies_takes_its_call_with_it_and_leaves_the_session(
    tmp_path: Path,
) -> None:
    async with placed(tmp_path) as place:
        here, there = place.urls
        async with handshaken(here, FORMS) as it, it.calling("book") as lost:
            asked = await lost.asked()
            await place.until("waiting")
            place.here.kill()
            await place.until("canceled")
            late = await it.answer(asked, SEVEN, there)
            with pytest.raises(httpx2.TransportError):
                await lost.result()
            elsewhere = Handshaken(it.http, there, it.session)
            async with elsewhere.calling("book") as call:
                for _ in range(2):
                    await elsewhere.answer(await call.asked(), SEVEN)
                result = await call.result()

    assert late.status_code == 202
    assert result["structuredContent"] == {"told": {"from": SEVEN, "to": SEVEN}}


async def test_a_call_that_waits_outlives_its_orchestrator_and_can_still_be_cancelled(
    tmp_path: Path,
) -> None:
    async with placed(tmp_path) as place:
        here, there = place.urls
        async with handshaken(here, FORMS) as it:
            async with it.calling("book") as call:
                first, second = await call.asked(), await call.asked()
                await it.answer(first, SEVEN)
                await asyncio.to_thread(place.restart)
                taken = await it.answer(second, SEVEN, there)
                result = await call.result()
            async with it.calling("book") as call:
                await call.asked()
                await asyncio.to_thread(place.restart)
            await place.until("canceled")

    assert taken.status_code == 202
    assert result["structuredContent"] == {"told": {"from": SEVEN, "to": SEVEN}}
