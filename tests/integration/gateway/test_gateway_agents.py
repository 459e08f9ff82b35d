"""Agents over HTTP: a resource as the body."""

import httpx2
import pytest

from tests.integration.gateway.fakes import Suite

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_agent_is_created_from_the_body(edge: Suite, http: httpx2.AsyncClient) -> None:
    body = {"agent_id": "helper", "tools": ["calculator"], "response_schema": {"type": "object"}}

    reply = await http.post("/v1/agents", json=body, headers={"Idempotency-Key": "once"})

    assert reply.status_code == 200
    assert {key: reply.json()[key] for key in body} == body
    assert edge.script.metadata[0]["idempotency-key"] == "once"


async def test_an_agent_is_changed_by_patch(edge: Suite, http: httpx2.AsyncClient) -> None:
    body = {"description": "New.", "version": 3, "create_time": "2026-01-02T03:04:05Z"}

    reply = await http.patch(
        "/v1/agents/helper?update_mask=description&update_mask=tools", json=body
    )

    request = edge.script.requests[0]
    assert reply.json()["description"] == "New."
    assert (request.agent_id, request.agent.version) == ("helper", 3)
    assert list(request.update_mask) == ["description", "tools"]


async def test_an_agent_is_deleted(edge: Suite, http: httpx2.AsyncClient) -> None:
    reply = await http.delete("/v1/agents/helper")

    assert (reply.status_code, reply.json()) == (200, {})
    assert edge.script.requests[0].agent_id == "helper"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_fault_is_named_as_it_was_sent(
    edge: Suite, http: httpx2.AsyncClient, method: str
) -> None:
    path = "/v1/agents" if method == "POST" else "/v1/agents/helper"

    nested = await http.request(method, path, json={"limits": {"steps": "many"}})
    whole = await http.request(method, path, json=["helper"])

    assert nested.status_code == 400
    assert nested.json()["message"].startswith("limits.steps: ")
    assert nested.json()["schema_path"] == ["properties", "limits", "properties", "steps", "type"]
    assert whole.json()["message"].startswith("body: ")
    assert edge.script.requests == []
