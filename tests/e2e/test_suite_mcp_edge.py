"""A whole suite as MCP clients see it, through the SDK's own client."""

import asyncio
import json
from typing import Any

import httpx2
import mcp
import pytest
from mcp.shared.exceptions import MCPError

from tests.e2e.running import Suite, until

MODES = ["2026-07-28", "legacy"]
TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


def client(suite: Suite, mode: str = MODES[0]) -> mcp.Client:
    """A client that keeps nothing."""
    return mcp.Client(f"{suite.url}/mcp", mode=mode, cache=None)


def asked(http: httpx2.Client, method: str, params: dict[str, Any]) -> Any:
    """What comes of a request of a client that knows tasks."""
    prefix = "io.modelcontextprotocol/"
    meta = {f"{prefix}protocolVersion": MODES[0], f"{prefix}clientCapabilities": TASKS}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODES[0],
        "Mcp-Method": method,
        "Mcp-Name": params.get("name") or params["taskId"],
    }
    return http.post("/mcp", json=message, headers=headers).json()["result"]


def agent(http: httpx2.Client, name: str, **fields: Any) -> None:
    """Make an agent."""
    assert http.post("/v1/agents", json={"agent_id": name, **fields}).status_code == 200


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_of_the_registry_is_called(echo: Suite, mode: str) -> None:
    async with asyncio.timeout(20), client(echo, mode) as it:
        names = [tool.name for tool in (await it.list_tools()).tools]
        result = await it.call_tool("calculator", {"expression": "12*7"})
        wrong = await it.call_tool("calculator", {"expression": "1/0"})

    assert names == sorted(names)
    assert {"calculator", "current_time"} <= set(names)
    assert result.structured_content == {"value": 84}
    assert wrong.is_error


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_that_is_not_there_is_an_error(echo: Suite, mode: str) -> None:
    async with asyncio.timeout(20), client(echo, mode) as it:
        with pytest.raises(MCPError) as caught:
            await it.call_tool("nothing", {})

    assert caught.value.code == -32602


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_is_a_tool_that_tells_how_it_gets_on(
    echo: Suite, http: httpx2.Client, mode: str
) -> None:
    agent(http, f"clerk-{mode}", tools=["calculator"])
    heard: list[str] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with asyncio.timeout(20), client(echo, mode) as it:
        query = {"query": 'tool:calculator {"expression": "12*7"}'}
        result = await it.call_tool(f"agent__clerk-{mode}", query, progress_callback=on_progress)
        task_id = result.structured_content["task_id"]
        log = await it.read_resource(f"runplane://tasks/{task_id}/events")

    lines = [json.loads(line) for line in log.contents[0].text.splitlines()]  # type: ignore[union-attr]
    assert any("calls calculator" in said for said in heard)
    assert lines[-1]["status"] == "completed"


def test_a_call_that_lasts_is_a_task_that_can_be_asked_after(
    echo: Suite, http: httpx2.Client
) -> None:
    agent(http, "patient")
    call = {"name": "agent__patient", "arguments": {"query": "sleep:300\nDone"}}

    task = asked(http, "tools/call", call)
    named = {"taskId": task["taskId"]}
    until(lambda: asked(http, "tasks/get", named)["status"] == "completed")

    over = asked(http, "tasks/get", named)
    assert (task["resultType"], task["status"]) == ("task", "working")
    assert over["result"]["structuredContent"]["task_id"] == task["taskId"]
    assert http.get(f"/v1/tasks/{task['taskId']}").json()["status"] == "completed"


def test_a_task_can_be_cancelled(echo: Suite, http: httpx2.Client) -> None:
    agent(http, "left")
    call = {"name": "agent__left", "arguments": {"query": "sleep:60000"}}
    named = {"taskId": asked(http, "tools/call", call)["taskId"]}

    ack = asked(http, "tasks/cancel", named)

    until(lambda: asked(http, "tasks/get", named)["status"] == "cancelled")
    assert ack["resultType"] == "complete"


def test_another_name_for_this_machine_is_refused(http: httpx2.Client) -> None:
    answers = [
        http.post(path, json={}, headers={"Host": "rebound.example"})
        for path in ("/mcp", "/v1/tools", "/v1/mcp-servers")
    ]

    assert [each.json()["error_code"] for each in answers] == ["HOST_NOT_ALLOWED"] * 3
