"""The admin port: by which names it shows what it measures, and what it takes of a request."""

import asyncio
from contextlib import suppress

import httpx2
import pytest

from services.chassis import http
from tests.integration.chassis.fakes import serving_tools


async def status(path: str, host: str) -> int:
    """Of a request that is sent by a name to a service on loopback."""
    async with (
        asyncio.timeout(10),
        serving_tools() as server,
        httpx2.AsyncClient(base_url=f"http://{server.admin}") as client,
    ):
        return (await client.get(path, headers={"host": host})).status_code


@pytest.mark.parametrize("host", ["evil.example:9090", "127.0.0.1.evil.example", "localhost.evil"])
async def test_a_page_whose_name_leads_here_cannot_read_what_is_measured(host: str) -> None:
    assert await status("/metrics", host) == 403


@pytest.mark.parametrize("host", ["localhost:9090", "127.0.0.1", "[::1]:1", "10.1.2.3:9090"])
async def test_whoever_asks_by_an_own_name_or_an_address_may(host: str) -> None:
    assert await status("/metrics", host) == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_are_answered_by_any_name(path: str) -> None:
    assert await status(path, "pod.svc.cluster.local") == 200


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"GET /livez HTTP/1.1\r\n", b"abcdefg: xyz\r\n" * 5_000),
        (b"GET /livez HTTP/1.1\r\na: ", b"x" * 65_536),
        (b"PUT /loglevel HTTP/1.1\r\ncontent-length: 999999999\r\n\r\n", b"x" * 65_536),
    ],
)
async def test_a_request_without_an_end_is_not_read_for_long(begun: bytes, piece: bytes) -> None:
    taken = 0
    async with asyncio.timeout(5), serving_tools() as server:
        reader, writer = await asyncio.open_connection(*server.admin.rsplit(":", 1))
        with suppress(OSError):
            writer.write(begun)
            while not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                taken += len(piece)
        writer.close()

    assert taken < 16 * 1024 * 1024


@pytest.mark.parametrize(
    "begun", [b"", b"G", b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\n\r\nGET"]
)
async def test_a_request_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    async with asyncio.timeout(5), serving_tools() as server:
        reader, writer = await asyncio.open_connection(*server.admin.rsplit(":", 1))
        writer.write(begun)
        with suppress(ConnectionError):
            await reader.read()  # To its end, for which the time limit is the test.
        writer.close()


async def test_a_connection_is_kept_between_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    async with asyncio.timeout(5), serving_tools() as server:
        reader, writer = await asyncio.open_connection(*server.admin.rsplit(":", 1))
        for _ in range(2):
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert b"200" in await reader.readuntil(b"ok\n")
            await asyncio.sleep(0.1)  # Longer than a request may take.
        writer.close()
