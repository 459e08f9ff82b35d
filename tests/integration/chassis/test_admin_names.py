"""By which names the admin port shows what it measures."""

import asyncio

import httpx2
import pytest

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
