"""The probe that images have, against a service that listens."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from services.chassis import probe
from services.chassis.http import address_of
from services.chassis.server import Running
from tests.integration.chassis.fakes import TOOLS, serving_tools


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with asyncio.timeout(20), serving_tools() as running:
        yield running


async def probed(*arguments: str) -> int:
    return await asyncio.to_thread(probe.main, list(arguments))


async def test_what_serves_is_well_over_http_and_grpc(server: Running) -> None:
    urls = [
        f"http://{server.admin}/livez",
        f"http://{server.admin}/readyz",
        f"http://{server.admin}",
        f"grpc://{server.address}",
        f"grpc://{server.address}/{TOOLS}",
    ]

    assert [await probed(url) for url in urls] == [probe.WELL] * len(urls)


async def test_what_takes_no_more_requests_lives_and_is_not_ready(server: Running) -> None:
    assert server.health
    await server.health.set_serving(False)

    assert await probed(f"http://{server.admin}/livez") == probe.WELL
    assert await probed(f"http://{server.admin}/readyz") == probe.UNWELL
    assert await probed(f"grpc://{server.address}") == probe.UNWELL


async def test_a_service_that_is_not_there_is_not_well(server: Running) -> None:
    assert await probed(f"grpc://{server.address}/runplane.nobody.v1.NobodyService") == probe.UNWELL


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_a_port_where_nobody_listens_is_not_well(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))

        assert await probed(f"{scheme}://{address_of(taken)}") == probe.UNWELL


async def test_what_accepts_and_never_answers_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        assert await probed(f"http://{address_of(silent)}/readyz") == probe.UNWELL
        assert await probed(f"grpc://{address_of(silent)}") == probe.UNWELL


@pytest.mark.parametrize(
    "arguments",
    [["ftp://127.0.0.1:1"], ["127.0.0.1:9090"], ["http://127.0.0.1"], ["http://h:99999"], ["", ""]],
)
def test_a_question_of_another_kind_is_refused(arguments: list[str]) -> None:
    assert probe.main(arguments) == probe.MISUSED
