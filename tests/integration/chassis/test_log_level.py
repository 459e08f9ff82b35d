"""`/loglevel` on a real admin port."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from services.chassis.admin import Admin
from services.chassis.http import serving_http
from services.chassis.settings import ServerSettings
from tests.integration.chassis.fakes import serving_tools

NAME = "services.test_log_level"
TOKEN = "a token of this test"  # noqa: S105 - it opens nothing else
DEBUG = {"logger": NAME, "level": "debug"}


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    logging.getLogger(NAME).setLevel(logging.ERROR)
    yield
    logging.getLogger(NAME).setLevel(logging.NOTSET)


def level() -> str:
    return logging.getLevelName(logging.getLogger(NAME).level).lower()


async def asked(
    method: str, content: object = None, *, token: str | None = None, **headers: str
) -> httpx2.Response:
    """One request to a service of its own."""
    settings = ServerSettings(admin_token=token) if token else ServerSettings()
    async with (
        asyncio.timeout(10),
        serving_tools(settings=settings) as server,
        httpx2.AsyncClient(base_url=f"http://{server.admin}") as client,
    ):
        if isinstance(content, bytes):
            return await client.request(method, "/loglevel", content=content, headers=headers)
        return await client.request(method, "/loglevel", json=content, headers=headers)


async def test_a_level_is_changed_while_the_process_runs() -> None:
    reply = await asked("PUT", DEBUG)

    assert reply.status_code == 200
    assert reply.json()["changes"] == [DEBUG]
    assert level() == "debug"


async def test_a_change_is_taken_back_by_a_put_without_a_level() -> None:
    async with (
        serving_tools() as server,
        httpx2.AsyncClient(base_url=f"http://{server.admin}") as client,
    ):
        await client.put("/loglevel", json=DEBUG)
        before = (await client.get("/loglevel")).json()["changes"]
        reply = await client.put("/loglevel", json={"logger": NAME})

    assert (before, reply.json()["changes"], level()) == ([DEBUG], [], "error")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"logger": NAME, "level": "loud"}, "level"),
        ({"logger": "mcp", "level": "debug"}, "logger"),
        ({"logger": "services.nowhere", "level": "debug"}, "logger"),
        ({"level": "debug"}, "logger"),
        (DEBUG | {"seconds": 0}, "seconds"),
        (DEBUG | {"seconds": timedelta(days=2).total_seconds()}, "seconds"),
        (DEBUG | {"minutes": 1}, "minutes"),
        (b"{", "body"),
        (b" " * 5_000, "body"),
    ],
)
async def test_a_bad_wish_is_refused_and_changes_nothing(content: Any, field: str) -> None:
    reply = await asked("PUT", content)

    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_REQUEST")
    assert field in reply.json()["message"]
    assert level() == "error"


async def test_a_page_whose_name_leads_here_may_not() -> None:
    reply = await asked("PUT", DEBUG, host="evil.example:8080")

    assert (reply.status_code, reply.json()["error_code"]) == (403, "LOOPBACK_ONLY")
    assert level() == "error"


async def test_another_machine_may_not_without_a_token() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "path": "/loglevel",
        "method": "PUT",
        "client": ("192.0.2.7", 1234),
        "headers": [(b"host", b"127.0.0.1:9000")],
    }
    await Admin(lambda: True)(scope, None, send)  # type: ignore[arg-type] - it reads no body

    assert sent[0]["status"] == 403


@pytest.mark.parametrize("said", [{}, {"authorization": "Bearer another"}, {"authorization": "x"}])
async def test_where_a_token_is_set_nobody_may_without_it(said: dict[str, str]) -> None:
    reply = await asked("PUT", DEBUG, token=TOKEN, **said)

    assert (reply.status_code, reply.json()["error_code"]) == (401, "TOKEN_INVALID")
    assert level() == "error"


async def test_whoever_has_the_token_may() -> None:
    reply = await asked("PUT", DEBUG, token=TOKEN, authorization=f"Bearer {TOKEN}")

    assert (reply.status_code, level()) == (200, "debug")


async def test_other_methods_are_refused() -> None:
    async with (
        serving_http(Admin(lambda: True), "127.0.0.1:0", grace=timedelta(seconds=1)) as address,
        httpx2.AsyncClient(base_url=f"http://{address}") as client,
    ):
        reply = await client.post("/loglevel", json=DEBUG)

    assert (reply.status_code, reply.json()["error_code"]) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"] == "GET, HEAD, PUT"
