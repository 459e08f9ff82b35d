"""Who may speak with the edge at all: by the name it is called, and by the page that calls."""

import asyncio

import pytest
from httpx2 import AsyncClient

from tests.integration.gateway.fakes import Suite, suite
from tests.integration.gateway.wire import request, wire

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODY = {"query": "hi"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/tools", "/nowhere"])
async def test_a_request_to_another_name_is_refused_at_every_route(
    http: AsyncClient, path: str
) -> None:
    answer = await http.get(path, headers={"Host": "rebound.example:8080"})

    assert (answer.status_code, answer.json()["error_code"]) == (403, "HOST_NOT_ALLOWED")
    assert "GATEWAY_ALLOWED_HOSTS" in answer.json()["suggested_fix"]


async def test_a_request_without_a_name_is_refused(edge: Suite) -> None:
    async with wire(edge.port) as client:
        await client.send(b"GET /v1/tools HTTP/1.0\r\n\r\n")
        status, _ = await client.head()

    assert status == 403
    assert not edge.script.requests


async def test_a_websocket_of_another_name_is_refused(edge: Suite) -> None:
    async with wire(edge.port) as client:
        raw = request("GET", "/v1/agent/converse").replace(b"localhost", b"rebound.example")
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        await client.send(raw.replace(b"Content-Length: 0\r\n", upgrade + key))
        status, _ = await client.head()

    assert status == 403


async def test_settings_name_other_names() -> None:
    async with suite(allowed_hosts="app.example") as edge, AsyncClient() as client:
        url = f"http://{edge.edge.address}/healthz"
        theirs = await client.get(url, headers={"Host": "app.example"})
        ours = await client.get(url)

    assert (theirs.status_code, ours.status_code) == (200, 403)


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://localhost:1"])
async def test_a_page_from_elsewhere_changes_nothing(
    http: AsyncClient, edge: Suite, origin: str
) -> None:
    answer = await http.post("/v1/agent/invoke", json=BODY, headers={"Origin": origin})

    assert (answer.status_code, answer.json()["error_code"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert not edge.script.requests


async def test_a_page_of_the_edge_may_change_things(http: AsyncClient, edge: Suite) -> None:
    origin = f"http://{edge.edge.address}"
    answer = await http.post("/v1/agent/invoke", json=BODY, headers={"Origin": origin})

    assert answer.status_code == 200


async def test_a_page_from_elsewhere_may_read_if_its_browser_lets_it(http: AsyncClient) -> None:
    answer = await http.get("/healthz", headers={"Origin": "https://elsewhere.example"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Host", ["localhost", "rebound.example"]),
        ("Host", ["rebound.example", "localhost"]),
        ("Origin", ["http://elsewhere.example", "http://localhost"]),
    ],
)
async def test_a_head_that_says_twice_who_asks_is_refused(
    edge: Suite, name: str, values: list[str]
) -> None:
    said = "".join(f"{name}: {value}\r\n" for value in values)
    others = "" if name == "Host" else "Host: localhost\r\n"
    async with asyncio.timeout(5), wire(edge.port) as client:
        await client.send(f"POST /v1/agent/invoke HTTP/1.1\r\n{others}{said}\r\n".encode())
        status, _, error = await client.answer()

    assert (status, error["error_code"]) == (400, "INVALID_REQUEST")
    assert name.lower() in str(error)
    assert not edge.script.requests


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://rebound.example/v1/models", "localhost", 403),
        ("HTTP://rebound.example:80/@localhost", "localhost", 403),
        ("http://localhost@rebound.example/v1/models", "localhost", 403),
        ("http://localhost:8080/v1/models", "rebound.example", 200),
    ],
)
async def test_a_target_that_names_a_host_is_addressed_to_that_one(
    edge: Suite, target: str, host: str, status: int
) -> None:
    async with asyncio.timeout(5), wire(edge.port) as client:
        await client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answered, _, answer = await client.answer()

    assert answered == status
    assert status == 200 or answer["error_code"] == "HOST_NOT_ALLOWED"
