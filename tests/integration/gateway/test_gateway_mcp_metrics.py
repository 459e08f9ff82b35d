"""What the edge measures of MCP, as its admin port shows it."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import grpc
import httpx2
import pytest
from mcp.shared.exceptions import MCPError
from prometheus_client.parser import text_string_to_metric_families as families

from gateway import codec
from gateway.endpoints import Edge
from gateway.mcp.operations import DURATION, METHODS, Operations
from gateway.mcp.rpc import Rpc
from gateway.mcp.server import McpServer
from gateway.settings import Settings
from gateway.traffic import Traffic
from services.chassis.errors import Unavailable
from services.chassis.histograms import OTHER, OTHER_ERROR
from tests.integration.gateway.places import Place, client
from tests.integration.gateway.rpc import message, send
from tests.servers.registry import Told, failed, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = ["2026-07-28", "legacy"]
Counts = Mapping[tuple[str, str], float]


async def counted(place: Place) -> Counts:
    """Operations by their method and how they failed."""
    async with httpx2.AsyncClient() as http:
        page = (await http.get(f"{place.admin}/metrics")).text
    return {
        (sample.labels["mcp_method_name"], sample.labels["error_type"]): sample.value
        for family in families(page)
        for sample in family.samples
        if sample.name == f"{DURATION}_count"
    }


async def new(place: Place, before: Counts) -> Counts:
    """Those since then."""
    after = await counted(place)
    more = {key: number - before.get(key, 0) for key, number in after.items()}
    return {key: number for key, number in more.items() if number}


def answers(place: Place, response: Any) -> None:
    """Let the tool answer this, or raise it."""

    async def answer(request: Any, tell: Told) -> Any:
        if isinstance(response, Exception):
            raise response
        return response

    place.tools.add("weather")
    place.tools.answers["weather"] = answer


@pytest.mark.parametrize("mode", MODES)
async def test_operations_are_counted_by_their_method(place: Place, mode: str) -> None:
    answers(place, success({"n": 1}))
    before = await counted(place)
    async with client(place, mode) as it:
        await it.list_tools()
        await it.call_tool("weather", {})

    found = await new(place, before)

    assert found["tools/call", ""] == 1
    assert found["tools/list", ""] >= 1
    assert {error for _, error in found} == {""}
    assert found.get(("initialize", ""), 0) == (mode == "legacy")


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_that_fails_is_an_error_of_the_tool(place: Place, mode: str) -> None:
    answers(place, failed("TOOL_FAILED", "it rains"))
    before = await counted(place)
    async with client(place, mode) as it:
        await it.call_tool("weather", {})

    found = await new(place, before)

    assert found["tools/call", "tool_error"] == 1
    assert ("tools/call", "") not in found


@pytest.mark.parametrize("mode", MODES)
async def test_an_error_of_json_rpc_is_counted_by_its_code(place: Place, mode: str) -> None:
    answers(place, Unavailable("TOOL_UNAVAILABLE", "it is away"))
    before = await counted(place)
    async with client(place, mode) as it:
        with pytest.raises(MCPError) as caught:
            await it.call_tool("weather", {})

    found = await new(place, before)

    assert found["tools/call", str(caught.value.code)] == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_bug_behind_it_is_no_success(
    place: Place, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a fault of ours")

    before = await counted(place)
    async with client(place, mode) as it:
        monkeypatch.setattr(Rpc, "__call__", broken)
        with pytest.raises(MCPError):
            await it.list_prompts()

    found = await new(place, before)

    assert found["prompts/list", OTHER_ERROR] == 1
    assert ("prompts/list", "") not in found


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        (message("tools/call", {"name": "it", "arguments": 7}), ("tools/call", "-32602")),
        (message("tools/call", {"name": 7}), ("tools/call", "400")),
        (message("hunter2/hunter2"), (OTHER, "-32601")),
        ({"jsonrpc": "2.0", "id": 1, "method": ["tools/call"]}, (OTHER, "400")),
        ([], (OTHER, "400")),
    ],
)
async def test_what_is_refused_is_counted_by_what_it_was_meant_to_be(
    place: Place, sent: Any, key: tuple[str, str]
) -> None:
    before = await counted(place)
    if isinstance(sent, dict) and isinstance(sent["method"], str):
        await send(place, sent)
    else:
        async with httpx2.AsyncClient() as http:
            await http.post(place.mcp, json=sent, headers={"mcp-protocol-version": MODES[0]})

    assert await new(place, before) == {key: 1}


async def test_every_method_that_is_offered_is_counted_by_its_name() -> None:
    settings = Settings(page_token_key="11" * 32)
    async with AsyncExitStack() as stack:
        nowhere = await stack.enter_async_context(grpc.aio.insecure_channel("127.0.0.1:1"))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        edge = Edge(settings, Traffic(tasks, max_requests=1))
        server = McpServer(edge, dict.fromkeys(codec.CONTRACTS, nowhere), Operations())
        offered = set(server._whole.app._request_handlers)

    assert len(offered) > 10
    assert offered <= METHODS
