"""HTTP to an upstream: bounded in time and size, and closed the moment nobody listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import httpx2

from services.chassis.egress.secrets import Scrub
from services.chassis.errors import ServiceError, Unavailable
from services.inference.domain.request import JSON
from services.inference.engines import failures
from services.inference.engines.openai_http.answer import parsed
from services.inference.engines.openai_http.faults import Refusal, RefusedError, fault, refusal
from services.inference.engines.openai_http.upstream import MIB, Connect, Key, Upstream

_REFUSAL_BYTES: Final = 64 * 1024
_LARGE: Final = 256 * 1024
_ANSWER_BYTES: Final = 16 * MIB
"""Of an answer that is no stream: it is there as a whole. Vectors of 32 texts have half of it."""
_ANSWER_PARTS: Final = 1024 * 1024
_STREAM: Final = "text/event-stream"
_OK: Final = 200
_SPARE: Final = 8
"""Connections for what takes no slot, such as counting tokens."""


class Wire:
    """Connections to one upstream. They are used again."""

    def __init__(self, upstream: Upstream, connect: Connect, key: Key | None) -> None:
        self._upstream = upstream
        self._key = key
        bounds, most = upstream.bounds, upstream.slots + _SPARE
        silence = bounds.silence.total_seconds()
        self._client = connect(
            timeout=httpx2.Timeout(silence, connect=bounds.connect.total_seconds()),
            limits=httpx2.Limits(
                max_connections=most, max_keepalive_connections=most, keepalive_expiry=4
            ),
        )
        self._base = upstream.url.rstrip("/")
        self._root = self._base.removesuffix("/v1")

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, JSON]) -> AsyncIterator[httpx2.Response]:
        """The answer to a POST, which is a stream of events.

        Raises:
            RefusedError: it is not.
            Unavailable: `ENGINE_FAILED`; there is none, or something else.
        """
        async with self._asked("POST", self._base + path, body) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != _STREAM:
                shown = kind[:64].encode("ascii", "replace").decode() or "nothing"
                raise failures.engine_failed(
                    f"the upstream answered with {shown} and no stream of events: see "
                    f"{self._upstream.setting('url')}"
                )
            yield response

    async def ask(
        self, method: str, path: str, body: Mapping[str, JSON] | None = None, *, root: bool = False
    ) -> Mapping[str, JSON]:
        """The JSON object that answers. `root`: the path is not below the URL's `/v1`.

        Raises:
            RefusedError: it is a refusal.
            Unavailable: `ENGINE_FAILED`; there is none, or something else.
        """
        url = (self._root if root else self._base) + path
        async with self._asked(method, url, body) as response:
            most = min(self._upstream.bounds.answer_bytes, _ANSWER_BYTES)
            content = await self._read(response, most)
        if len(content) > _LARGE:
            return await asyncio.to_thread(parsed, content, _ANSWER_PARTS)
        return parsed(content)

    def fault(self, refused: Refusal, *, is_bound: bool = False) -> ServiceError:
        """The error that a refusal is."""
        return fault(refused, self._upstream, datetime.now(UTC), is_bound=is_bound)

    @asynccontextmanager
    async def _asked(
        self, method: str, url: str, body: Mapping[str, JSON] | None
    ) -> AsyncIterator[httpx2.Response]:
        key = await self._key() if self._key is not None else ""
        headers = {"accept-encoding": "identity"}  # What is packed small may be large.
        if key:
            headers["authorization"] = f"Bearer {key}"
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["content-type"] = "application/json"
        request = self._client.build_request(method, url, content=content, headers=headers)
        try:
            response = await self._send(request)
            try:
                await self._check(response)
                yield response
            finally:
                await response.aclose()
        except RefusedError as error:  # Also of what is refused within a stream.
            said = Scrub([key] if key else []).text(error.refused.message)
            raise RefusedError(replace(error.refused, message=said)) from None
        except httpx2.HTTPError as error:
            raise self._lost(error) from None

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        """The answer's head. A server may close a connection just as it is used again: then there
        is a second one, for nothing was said yet (RFC 9112, 9.3.1)."""
        with suppress(httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            return await self._client.send(request, stream=True)
        return await self._client.send(request, stream=True)

    async def _check(self, response: httpx2.Response) -> None:
        if response.status_code != _OK:
            content = await self._beginning(response)
            wait = response.headers.get("retry-after", "")
            raise RefusedError(refusal(response.status_code, content, wait))
        packed = response.headers.get("content-encoding", "identity").lower()
        if packed != "identity":
            raise failures.engine_failed("the upstream packs its answer, which it was asked not to")

    async def _beginning(self, response: httpx2.Response) -> bytes:
        try:
            return await self._read(response, _REFUSAL_BYTES)
        except Unavailable:
            return b""

    async def _read(self, response: httpx2.Response, most: int) -> bytes:
        content = bytearray()
        async with aclosing(response.aiter_raw()) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > most:
                    raise failures.engine_failed(f"its answer has more than {most} bytes")
        return bytes(content)

    def _lost(self, error: httpx2.HTTPError) -> ServiceError:
        bounds = self._upstream.bounds
        if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
            where = self._upstream.setting("url")
            why = f"the upstream of {self._upstream.name} is not there ({error}): see {where}"
        elif isinstance(error, httpx2.TimeoutException):
            why = f"the upstream was silent for {bounds.silence.total_seconds():g} s"
        else:
            why = f"the connection to the upstream broke: {type(error).__name__}"
        return failures.engine_failed(why)
