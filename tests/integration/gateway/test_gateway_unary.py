"""Unary RPCs over HTTP."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import httpx2
import pytest

from services.chassis.errors import NotFound, ResourceExhausted, Violation, invalid
from services.chassis.settings import ClientSettings
from tests.integration.gateway.fakes import Script, Suite, suite

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("path", ["/v1/agent/invoke", "/api/v1/agent/invoke"])
async def test_invoke_answers_with_its_result_at_both_paths(
    http: httpx2.AsyncClient, path: str
) -> None:
    reply = await http.post(path, json={"query": "Hello"})

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["result"] == "Hello"
    assert reply.json()["warnings"] == []


async def test_a_path_variable_reaches_the_service(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/v1/tasks/task%20%C3%A9")

    assert reply.json()["task_id"] == "task é"


async def test_free_json_comes_back_as_it_was_sent(http: httpx2.AsyncClient) -> None:
    sent = {"a": [1, 2.5, None, True, {"b": "x"}], "n": 2**53}

    reply = await http.post("/v1/tools/echo:call", json={"input": sent})

    assert reply.json()["result"] == sent
    assert '"n":9007199254740992' in reply.text


async def test_head_is_get_without_the_body(http: httpx2.AsyncClient) -> None:
    get, head = await http.get("/v1/models"), await http.head("/v1/models")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


async def test_options_says_what_is_allowed(http: httpx2.AsyncClient) -> None:
    reply = await http.options("/v1/tasks/t:cancel")

    assert (reply.status_code, reply.headers["allow"]) == (204, "OPTIONS, POST")


async def test_a_stream_has_no_head(http: httpx2.AsyncClient) -> None:
    reply = await http.head("/v1/tasks/t:watch")

    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, OPTIONS")


async def test_ids_version_and_principal_travel_with_the_call(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    headers = {
        "X-Request-Id": "mine:1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "runplane-version": "1.0",
        "runplane-tenant": "other",
    }

    reply = await http.get("/v1/models", headers=headers)

    seen = edge.script.metadata[0]
    assert reply.headers["x-request-id"] == "mine:1"
    assert seen["x-request-id"] == "mine:1"
    assert str(seen["traceparent"]).startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert seen["runplane-version"] == "1.0"
    assert seen.get("runplane-tenant", "default") == "default"


@pytest.mark.parametrize(
    ("headers", "body", "bounds"),
    [
        ({}, {}, (31, 33)),
        ({"X-Request-Timeout": "2500ms"}, {}, (1, 2.5)),
        ({"X-Request-Timeout": "7"}, {"timeout_ms": 100_000}, (5, 7)),
        ({"X-Request-Timeout": "9999"}, {}, (250, 300)),
        ({}, {"timeout_ms": 60_000}, (63.5, 64.7)),
    ],
)
async def test_deadlines_come_from_header_request_or_table(
    edge: Suite,
    http: httpx2.AsyncClient,
    headers: dict[str, str],
    body: dict[str, int],
    bounds: tuple[float, float],
) -> None:
    await http.post("/v1/agent/invoke", json={"query": "x", **body}, headers=headers)

    remaining = edge.script.remaining[0]
    assert remaining is not None
    assert bounds[0] < remaining < bounds[1] + 1.5  # grpc rounds up on its way.


async def test_reads_get_less_time_than_effects(edge: Suite, http: httpx2.AsyncClient) -> None:
    await http.get("/v1/models")

    remaining = edge.script.remaining[0]
    assert remaining is not None
    assert remaining < 6.5


async def test_a_services_error_keeps_reason_path_and_fix(
    edge: Suite, http: httpx2.AsyncClient
) -> None:
    violation = Violation("input.x", "is no number", "send a number", "/properties/x/type")
    edge.script.error = invalid(violation, reason="TOOL_INPUT_INVALID")

    reply = await http.post("/v1/tools/calculator:call", json={"input": {}})

    shown = reply.json()
    assert reply.status_code == 400
    assert shown["error_code"] == "TOOL_INPUT_INVALID"
    assert shown["schema_path"] == ["properties", "x", "type"]
    assert shown["suggested_fix"] == "send a number"
    assert shown["details"][0]["domain"] == "tool-registry.runplane.dev"
    assert shown["request_id"] == reply.headers["x-request-id"]
    assert len(shown["trace_id"]) == 32


async def test_a_rate_limit_says_when_to_come_back(edge: Suite, http: httpx2.AsyncClient) -> None:
    edge.script.error = ResourceExhausted("TOO_MANY_TASKS", "later").after(timedelta(seconds=2.1))

    reply = await http.post("/v1/agent/invoke", json={"query": "x"})

    assert (reply.status_code, reply.headers["retry-after"]) == (429, "3")


async def test_what_a_service_does_not_know_is_404(edge: Suite, http: httpx2.AsyncClient) -> None:
    edge.script.error = NotFound("TASK_NOT_FOUND", "no such task")

    reply = await http.get("/v1/tasks/t")

    assert (reply.status_code, reply.json()["error_code"]) == (404, "TASK_NOT_FOUND")


async def test_a_services_bug_stays_inside(edge: Suite, http: httpx2.AsyncClient) -> None:
    edge.script.abort = (grpc.StatusCode.INTERNAL, "secret")

    reply = await http.get("/v1/models")

    assert (reply.status_code, reply.json()["error_code"]) == (500, "INTERNAL")
    assert "secret" not in reply.text


async def test_a_deadline_that_passes_is_504(edge: Suite, http: httpx2.AsyncClient) -> None:
    edge.script.hangs = True

    reply = await http.get("/v1/models", headers={"X-Request-Timeout": "50ms"})

    assert (reply.status_code, reply.json()["grpc_status"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_service_that_is_away_is_503_and_named() -> None:
    nowhere = ClientSettings(target="127.0.0.1:1")
    async with (
        suite(inference=nowhere) as running,
        asyncio.timeout(10),
        httpx2.AsyncClient(base_url=f"http://{running.edge.address}") as http,
    ):
        reply = await http.get("/v1/models")

    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert reply.json()["error_code"] == "SERVICE_UNAVAILABLE"
    assert reply.json()["details"][0]["metadata"] == {"service": "inference"}
    assert "127.0.0.1" not in reply.text


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "expected"),
    [
        ("GET", "/nope", {}, (404, "ROUTE_NOT_FOUND")),
        ("GET", "/v1/tasks/", {}, (404, "ROUTE_NOT_FOUND")),
        ("OPTIONS", "/nope", {}, (404, "ROUTE_NOT_FOUND")),
        ("PUT", "/v1/models", {}, (405, "METHOD_NOT_ALLOWED")),
        ("GET", "/v1/agent/invoke", {}, (405, "METHOD_NOT_ALLOWED")),
        ("BREW", "/v1/models", {}, (400, "HTTP_INVALID")),
        ("POST", "/v1/agent/invoke", {"content": b""}, (400, "JSON_INVALID")),
        ("POST", "/v1/agent/invoke", {"content": b"{"}, (400, "JSON_INVALID")),
        ("POST", "/v1/agent/invoke", {"content": b"[" * 100_000}, (400, "JSON_INVALID")),
        ("POST", "/v1/agent/invoke", {"content": b'{"a":' * 10_000}, (400, "JSON_INVALID")),
        ("POST", "/v1/agent/invoke", {"content": b'{"query":"\xff"}'}, (400, "JSON_INVALID")),
        ("POST", "/v1/agent/invoke", {"content": b'{"timeout_ms":NaN}'}, (400, "JSON_INVALID")),
        ("POST", "/v1/agent/invoke", {"json": {"querry": "x"}}, (400, "INVALID_REQUEST")),
        ("POST", "/v1/agent/invoke", {"json": {"query": 1}}, (400, "INVALID_REQUEST")),
        ("POST", "/v1/agent/invoke?query=x", {"json": {}}, (400, "INVALID_REQUEST")),
        ("POST", "/v1/agent/invoke", {"content": b" " * (4 << 20 | 1)}, (413, "BODY_TOO_LARGE")),
        ("POST", "/v1/agent/invoke", {"content": b"x" * 10_000_000}, (413, "BODY_TOO_LARGE")),
        ("POST", "/v1/agent/invoke", {"data": {"a": "b"}}, (415, "MEDIA_TYPE_UNSUPPORTED")),
        ("GET", "/v1/models?nope=1", {}, (400, "INVALID_REQUEST")),
        ("GET", "/v1/models?page_size=x", {}, (400, "INVALID_REQUEST")),
        ("GET", "/v1/models", {"headers": {"x-request-id": "a b"}}, (400, "INVALID_REQUEST")),
        ("GET", "/v1/models", {"headers": {"x-request-timeout": "-1"}}, (400, "INVALID_REQUEST")),
        (
            "GET",
            "/v1/models",
            {"headers": {"runplane-version": "7"}},
            (400, "PROTOCOL_VERSION_UNSUPPORTED"),
        ),
    ],
)
async def test_a_bad_request_gets_its_status_and_reason_and_reaches_no_service(
    edge: Suite, method: str, path: str, kwargs: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with httpx2.AsyncClient(base_url=f"http://{edge.edge.address}", timeout=10) as http:
        reply = await http.request(method, path, **kwargs)

    assert (reply.status_code, reply.json()["error_code"]) == expected
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert reply.json()["suggested_fix"]
    assert not edge.script.requests


async def test_a_get_with_a_body_is_refused(edge: Suite, http: httpx2.AsyncClient) -> None:
    reply = await http.request("GET", "/v1/models", json={"page_size": 1})

    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert not edge.script.requests


async def test_what_is_too_much_at_once_is_shed() -> None:
    script = Script(hangs=True)
    limits = {"max_requests": 1}
    async with (
        suite(script, limits=limits) as running,
        asyncio.timeout(5),
        httpx2.AsyncClient(base_url=f"http://{running.edge.address}") as http,
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(http.get("/v1/models"))
        await script.arrived.wait()
        shed = await http.get("/v1/models")
        alive = await http.get("/healthz")
        script.released.set()

    assert (shed.status_code, shed.json()["error_code"]) == (503, "EDGE_OVERLOADED")
    assert shed.headers["retry-after"] == "1"
    assert alive.status_code == 200
    assert (await first).status_code == 200


async def test_a_refusal_names_the_edge_as_its_domain(http: httpx2.AsyncClient) -> None:
    reply = await http.get("/nope")

    assert reply.json()["details"][0]["domain"] == "gateway.runplane.dev"
