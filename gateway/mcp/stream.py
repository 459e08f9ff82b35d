"""The answer to a request as a stream, in which the edge says something beside the SDK."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from uvicorn._types import ASGISendEvent

from gateway.exchange import Exchange, Header

_OK: Final = 200
_encoded: Final = json.JSONEncoder(separators=(",", ":")).encode


class Stream:
    """Passes on what the SDK sends, an event at a time, and takes messages in between."""

    def __init__(self, exchange: Exchange, *headers: Header) -> None:
        """`headers` come with an answer that is one."""
        self._exchange = exchange
        self._headers = headers
        self._has_begun = asyncio.Event()

    async def relay(self, message: ASGISendEvent) -> None:
        """Send what the SDK sends."""
        if message["type"] == "http.response.start" and message["status"] == _OK:
            message["headers"] = [*message["headers"], *self._headers]
        await self._exchange.relay(message)
        self._has_begun.set()

    async def say(self, message: Mapping[str, Any]) -> None:
        """Send a JSON-RPC message, once there is a stream; before the SDK has ended it."""
        await self._has_begun.wait()
        await self._exchange.part(
            b"event: message\r\ndata: %b\r\n\r\n" % _encoded(message).encode()
        )
