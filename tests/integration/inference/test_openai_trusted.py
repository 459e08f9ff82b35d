"""Upstreams over TLS."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from services.inference.engines.openai_http import trusted
from tests.integration.tool_registry.hosts import certified, hello, listening

TIMEOUT = httpx2.Timeout(5)


async def asked(port: int) -> str:
    async with trusted.trusted(timeout=TIMEOUT, limits=httpx2.Limits()) as client:
        return (await client.get(f"https://localhost:{port}/v1/models")).text


async def test_an_authority_of_ones_own_is_trusted_where_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = certified(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))  # Its own authority.
    trusted._tls.cache_clear()

    async with asyncio.timeout(10), listening(hello, tls=server) as port:
        said = await asked(port)

    assert said == '"hello"'


async def test_no_other_authority_is_trusted(tmp_path: Path) -> None:
    server, _ = certified(tmp_path, "localhost")
    trusted._tls.cache_clear()

    async with asyncio.timeout(10), listening(hello, tls=server) as port:
        with pytest.raises(httpx2.ConnectError):
            await asked(port)
