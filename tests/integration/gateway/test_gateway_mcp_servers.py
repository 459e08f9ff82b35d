"""MCP servers and what they have, over HTTP."""

import httpx2
import pytest

from tests.integration.gateway.fakes import Suite

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_server_is_registered_from_the_body(edge: Suite, http: httpx2.AsyncClient) -> None:
    command = {"program": "python", "arguments": ["server.py"], "environment": {"A": "b"}}

    reply = await http.post("/v1/mcp-servers", json={"namespace": "w", "command": command})

    assert reply.status_code == 200
    assert reply.json()["namespace"] == "w"
    assert {key: reply.json()["command"][key] for key in command} == command
    assert "url" not in reply.json()


async def test_a_server_is_deleted(edge: Suite, http: httpx2.AsyncClient) -> None:
    reply = await http.delete("/v1/mcp-servers/w")

    assert (reply.status_code, reply.json()) == (200, {})
    assert edge.script.requests[0].namespace == "w"


async def test_a_resource_is_read_by_its_uri(edge: Suite, http: httpx2.AsyncClient) -> None:
    uri = "notes://a b/ü?x=1&y=2#z"

    reply = await http.get("/v1/resources:read", params={"uri": uri, "server": "w"})

    assert reply.json()["contents"] == [{"uri": uri, "text": "hello"}]
    assert edge.script.requests[0].server == "w"


async def test_values_are_suggested(edge: Suite, http: httpx2.AsyncClient) -> None:
    body = {"prompt": "w__p", "argument": "city", "value": "Pa", "context": {"unit": "celsius"}}

    reply = await http.post("/v1/prompts:complete", json=body)

    assert (reply.json()["values"], reply.json()["total"]) == (["Pa"], 1)
