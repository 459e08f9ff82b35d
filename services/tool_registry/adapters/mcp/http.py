"""Streamable HTTP to one server: whatever the server does is one request's error.

The SDK ends the whole session when a connection breaks, waits without end for a notification to be
taken, and reads answers of any size. This transport, below the SDK's, answers in the server's place
instead: a JSON-RPC error, or an end of the stream.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

import httpx2
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, METHOD_NOT_FOUND

from services.chassis.errors import ServiceError
from services.tool_registry.adapters.mcp.bounds import (
    LARGE_OF_ONE,
    LISTEN_SECONDS,
    MAX_PIECES,
    MESSAGE_BYTES,
    NOTE_SECONDS,
    TOO_LARGE,
)
from services.tool_registry.adapters.mcp.messages import Events, excess, most_bytes
from services.tool_registry.adapters.mcp.outside import Turns
from services.tool_registry.adapters.mcp.pace import Pace
from services.tool_registry.domain.size import LARGE_BYTES

_HUNG_UP: Final = "the server hung up in the middle of its answer"
_LATE: Final = "the answer did not end in time"
_MARGIN: Final = 10.0
_CONNECT: Final = 5.0
_PIECES_AT_ONCE: Final = 64
_STREAM: Final = "text/event-stream"
# Where a status says more than that the server failed. With some it is not reached at all: by whom
# it does not know (the secret may be another one by now), or behind a proxy.
_CODES: Final = {404: METHOD_NOT_FOUND, 405: METHOD_NOT_FOUND} | dict.fromkeys(
    (401, 403, 429, 502, 503, 504), CONNECTION_CLOSED
)


class Guarded(httpx2.AsyncBaseTransport):
    """A transport over another, for one server."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, seconds: float, turns: Turns) -> None:
        """`seconds`: how long a call may take. `turns` are those of all servers."""
        self._inner = inner
        self._seconds = seconds
        self._own = asyncio.Semaphore(LARGE_OF_ONE)
        self._turns = turns

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The server's answer, or one in its place."""
        allowed = _allowed(request, self._seconds)
        ends = asyncio.get_running_loop().time() + allowed
        request.extensions["timeout"] = {
            "connect": _CONNECT,
            "read": allowed,
            "write": min(allowed, 30.0),
            "pool": min(allowed, 30.0),
        }
        try:
            async with asyncio.timeout_at(ends):
                response = await self._inner.handle_async_request(request)
        except (httpx2.RequestError, ServiceError, OSError, TimeoutError) as error:
            return _instead(502, CONNECTION_CLOSED, _said(error))
        most = LARGE_BYTES if response.status_code >= 400 else most_bytes(request.content)
        body = _Body(response, ends, most, self._own, self._turns)
        return await _checked(request, response, body)


class _Body(httpx2.AsyncByteStream):
    """An answer within its bounds: in one piece, or event by event."""

    def __init__(
        self,
        response: httpx2.Response,
        ends: float,
        most: int,
        own: asyncio.Semaphore,
        turns: Turns,
    ) -> None:
        """`own` is for whoever reads much of this server, and `turns` of any."""
        self._taken: list[asyncio.Semaphore] = []
        self._response = response
        self._ends = ends
        self._most = most
        self._own = own
        self._turns = turns
        self._is_stream = response.headers.get("content-type", "").lower().startswith(_STREAM)
        # Which of these the SDK takes as the end of this one request.
        self._fault = httpx2.SSEError if self._is_stream else httpx2.StreamError

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if not self._is_stream:
            yield await self.whole()
            return
        async for event in self._by_event():
            yield event

    async def whole(self) -> bytes:
        """All of it."""
        said = self._response.headers.get("content-length", "")
        is_more = said.isdecimal() and (len(said) > 15 or int(said) > self._most)
        self._check(f"{TOO_LARGE} {self._most:,} bytes" if is_more else "")
        content = bytearray()
        async for chunk in self._chunks(self._most):
            content += chunk
            if len(content) > LARGE_BYTES:
                await self._take_turn()
        whole = bytes(content)
        self._check(excess(whole, self._most))
        await self._turns.rest(whole)
        return whole

    async def _by_event(self) -> AsyncIterator[bytes]:
        events, pace = Events(self._most), Pace()
        async for chunk in self._chunks(MESSAGE_BYTES):
            for event in events.ended(chunk):
                self._check(events.excess(event))
                await self._turns.rest(event)
                await pace.step()
                yield event
            self._check(events.growing)
            if len(events.rest) > LARGE_BYTES:
                await self._take_turn()
            else:
                self._end_turn()
        yield bytes(events.rest)

    async def _chunks(self, most: int) -> AsyncIterator[bytes]:
        left, count = most, 0
        stream = self._response.stream
        if not isinstance(stream, httpx2.AsyncByteStream):
            return
        chunks = aiter(stream)
        while True:
            try:
                async with asyncio.timeout_at(self._ends):
                    chunk = await anext(chunks, None)
            except (httpx2.RequestError, OSError):
                raise self._fault(_HUNG_UP) from None
            except TimeoutError:
                raise self._fault(_LATE) from None
            if chunk is None:
                return
            left -= len(chunk)
            count += 1
            self._check(f"{TOO_LARGE} {most:,} bytes" if left < 0 else "")
            self._check(f"{TOO_LARGE} {MAX_PIECES:,} pieces" if count > MAX_PIECES else "")
            if count % _PIECES_AT_ONCE == 0:
                await asyncio.sleep(0)  # Pieces of a byte come without any waiting between them.
            yield chunk

    async def _take_turn(self) -> None:
        """Wait to be one of the few that read much."""
        try:
            async with asyncio.timeout_at(self._ends):
                for turn in (self._own, self._turns.large)[len(self._taken) :]:
                    await turn.acquire()
                    self._taken.append(turn)
        except TimeoutError:
            raise self._fault(_LATE) from None

    def _end_turn(self) -> None:
        while self._taken:
            self._taken.pop().release()

    def _check(self, problem: str) -> None:
        if problem:
            raise self._fault(problem)

    async def aclose(self) -> None:
        self._end_turn()
        await self._response.aclose()


async def _checked(
    request: httpx2.Request, response: httpx2.Response, body: _Body
) -> httpx2.Response:
    """The answer, unless what the SDK would say of it says nothing."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        await response.aclose()
        return _instead(502, INTERNAL_ERROR, "the server compressed its answer without being asked")
    if response.status_code < 400:
        return httpx2.Response(response.status_code, headers=response.headers, stream=body)
    if response.status_code == 404 and "mcp-session-id" in request.headers:
        await response.aclose()
        return _instead(404, CONNECTION_CLOSED, "the server does not know the session any more")
    return await _refusal(response, body)


async def _refusal(response: httpx2.Response, body: _Body) -> httpx2.Response:
    """What the server says of a request that it refuses: as JSON-RPC, or its status."""
    content = b""
    try:
        content = await body.whole()
        said = json.loads(content)
        is_error = isinstance(said, dict) and isinstance(said.get("error"), dict)
    except (httpx2.StreamError, httpx2.SSEError, ValueError, RecursionError):
        is_error = False
    finally:
        await body.aclose()
    if is_error:
        headers = {"content-type": "application/json"}
        return httpx2.Response(response.status_code, headers=headers, content=content)
    # The SDK takes any of these for a server that knows no `server/discover`.
    code = _CODES.get(response.status_code, INTERNAL_ERROR)
    hint = "; is its secret the right one?" if response.status_code in {401, 403} else ""
    message = f"the server answered HTTP {response.status_code}{hint}"
    return _instead(response.status_code, code, message)


def _allowed(request: httpx2.Request, seconds: float) -> float:
    """How long an answer may take to its end."""
    if request.method == "GET":  # A stream of notifications, before 2026-07-28.
        return LISTEN_SECONDS
    if request.method == "DELETE" or b'"method":"notifications/' in request.content[:200]:
        return NOTE_SECONDS
    if request.headers.get("mcp-method") == "subscriptions/listen":
        return LISTEN_SECONDS
    return seconds + _MARGIN


def _instead(status: int, code: int, message: str) -> httpx2.Response:
    """A JSON-RPC error in the server's place; the SDK gives it the id of its request."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return httpx2.Response(status, json=error)


def _said(error: BaseException) -> str:
    if isinstance(error, ServiceError):
        return error.message
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return "nobody answers there"
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return _LATE
    return f"the connection failed ({type(error).__name__})"
