"""A client of conversations, for tests."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.gateway.fakes import Suite

PATH = "/v1/agent/converse"
START = '{"start": {"query": "x"}}'


def socket(edge: Suite, path: str = PATH, **options: Any) -> connect:
    return connect(f"ws://{edge.edge.address}{path}", proxy=None, open_timeout=5, **options)


async def ending(client: ClientConnection) -> tuple[list[str], int | None, str]:
    """The texts up to the close frame, its code and its reason."""
    texts: list[str] = []
    async with asyncio.timeout(10):
        try:
            while True:
                texts.append(str(await client.recv()))
        except ConnectionClosed:
            return texts, client.close_code, client.close_reason or ""


async def refusal(edge: Suite, path: str = PATH, **headers: str) -> tuple[int, Any]:
    """The HTTP answer instead of a socket."""
    with pytest.raises(InvalidStatus) as caught:
        async with socket(edge, path, additional_headers=headers):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)


async def handshake(edge: Suite) -> int:
    """The status of one more handshake."""
    try:
        async with socket(edge):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code
