"""MCP by hand, for what the SDK's client does not send or does not show."""

import json
from typing import Any

import httpx2

from tests.integration.gateway.places import Place

Wire = dict[str, Any]
VERSION = "2026-07-28"
TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PREFIX = "io.modelcontextprotocol/"


def envelope(capabilities: Wire | None = None) -> Wire:
    """What each request has in `_meta`."""
    return {
        f"{_PREFIX}protocolVersion": VERSION,
        f"{_PREFIX}clientCapabilities": capabilities or {},
    }


def message(
    method: str, params: Wire | None = None, capabilities: Wire | None = None, number: Any = 7
) -> Wire:
    """A request."""
    params = {**(params or {}), "_meta": envelope(capabilities)}
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def headers(sent: Wire) -> dict[str, str]:
    """The headers that belong to a request."""
    method, params = sent.get("method", ""), sent.get("params", {})
    named = params.get(_NAMED.get(method, "taskId")) if isinstance(params, dict) else None
    return {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": method,
        **({"Mcp-Name": named} if isinstance(named, str) else {}),
    }


async def send(
    place: Place, sent: Wire, more: dict[str, str] | None = None, without: str = ""
) -> httpx2.Response:
    """Send a request with some headers otherwise."""
    said = {**headers(sent), **(more or {})}
    said.pop(without, None)
    async with httpx2.AsyncClient(timeout=5) as http:
        return await http.post(place.mcp, content=json.dumps(sent), headers=said)


async def result(
    place: Place, method: str, params: Wire | None = None, capabilities: Wire | None = None
) -> Wire:
    """What comes of a request that succeeds."""
    response = await send(place, message(method, params, capabilities))
    body = response.json()
    assert "result" in body, body
    found: Wire = body["result"]
    return found


async def error(
    place: Place, method: str, params: Wire | None = None, capabilities: Wire | None = None
) -> tuple[int, Wire]:
    """The number and the error of a request that fails."""
    response = await send(place, message(method, params, capabilities))
    return response.status_code, response.json()["error"]
