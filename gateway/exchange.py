"""One request and its response, over ASGI."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from uvicorn._types import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
)

from gateway.errors import Failure
from gateway.head import Head
from gateway.served import Served
from gateway.sse import Framing
from gateway.traffic import ClientGone
from services.chassis.errors import DeadlineExceeded, InvalidArgument

Header = tuple[bytes, bytes]

_JSON: Final = (b"content-type", b"application/json")
_CLOSE: Final = (b"connection", b"close")
_STREAM: Final = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
# A client that still sends when it is refused reads the answer only if its sending does not break:
# what comes is thrown away for a while.
_LINGER: Final = timedelta(seconds=2)
_LINGER_BYTES: Final = 64 * 1024 * 1024


class Exchange(Served):
    """A request being answered."""

    __slots__ = ("_framing", "_is_relayed", "_is_unread", "_send", "receive")

    scope: HTTPScope

    def __init__(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        super().__init__(scope)
        self.receive = receive
        self._send = send
        self._framing: Framing | None = None
        self._is_relayed = False
        self._is_unread = False

    @property
    def has_started(self) -> bool:
        """Whether a stream's head is out."""
        return self._framing is not None

    def read_head(self, head: Head) -> None:
        """Take note of the head."""
        super().read_head(head)
        self._is_unread = head.has_body

    async def body(self, *, max_bytes: int, timeout: timedelta) -> bytes:
        """The whole body.

        Raises:
            InvalidArgument: `BODY_TOO_LARGE`, as soon as that is known.
            DeadlineExceeded: `BODY_TIMEOUT`.
            ClientGone: it ended before the body did.
        """
        if not self._is_unread:
            return b""
        if self.head.content_length > max_bytes:
            raise too_large(max_bytes)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._whole_body(max_bytes)
        except TimeoutError:
            raise DeadlineExceeded(
                "BODY_TIMEOUT",
                f"the body did not arrive within {timeout.total_seconds():g} s",
                field="body",
                suggested_fix="send the body with the request",
            ) from None

    async def _whole_body(self, max_bytes: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while self._is_unread:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            parts.append(message["body"])
            size += len(message["body"])
            self._is_unread = message["more_body"]
            if size > max_bytes:
                raise too_large(max_bytes)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def answer(
        self, status: int, body: bytes, *headers: Header, media: Header = _JSON
    ) -> None:
        """Send a whole response."""
        sent = [
            media,
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self.context.request_id.encode()),
            *headers,
        ]
        if self._is_unread:
            sent.append(_CLOSE)
        await self._start(status, sent)
        if self._is_unread:
            await self.part(body)
            await self._linger()
            body = b""
        await self.finish(body)

    async def answer_nothing(self, *headers: Header, status: int = 204) -> None:
        """Send a response without a body."""
        await self._start(status, [(b"x-request-id", self.context.request_id.encode()), *headers])
        await self.finish()

    async def start(self, framing: Framing) -> None:
        """Send the head of a stream."""
        self._framing = framing
        head = (b"content-type", framing.media_type)
        request_id = (b"x-request-id", self.context.request_id.encode())
        await self._start(200, [head, request_id, *_STREAM])

    async def part(self, data: bytes) -> None:
        """Send some of the body. Waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """Send the last of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def replaying(self, body: bytes) -> ASGIReceiveCallable:
        """What an application receives that answers this in its place, after the body was read."""
        unread: list[ASGIReceiveEvent] = [
            {"type": "http.request", "body": body, "more_body": False}
        ]

        async def receive() -> ASGIReceiveEvent:
            return unread.pop() if unread else await self.receive()

        return receive

    async def relay(self, message: ASGISendEvent) -> None:
        """Send what such an application sends."""
        if message["type"] == "http.response.start":
            self._is_relayed = True
            self._note(message["status"])
            request_id = (b"x-request-id", self.context.request_id.encode())
            message["headers"] = [*message["headers"], request_id]
        await self._send(message)

    async def fail(self, failure: Failure) -> None:
        """Say what went wrong: as the response, or in the stream if that has started."""
        if self._framing is None and not self._is_relayed:
            await self.answer(failure.http, failure.body, *failure.headers)
            return
        self._broke(failure)
        if self._framing is not None:  # Else it has begun to say something else.
            await self.finish(self._framing.error(failure.body))

    async def _start(self, status: int, headers: Iterable[Header]) -> None:
        self._note(status)
        await self._send(
            {"type": "http.response.start", "status": status, "headers": headers, "trailers": False}
        )

    async def _linger(self) -> None:
        left = _LINGER_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER.total_seconds()):
                while left > 0:
                    message = await self.receive()
                    if message["type"] != "http.request" or not message["more_body"]:
                        return
                    left -= len(message["body"])


def too_large(max_bytes: int, what: str = "the body") -> InvalidArgument:
    """The refusal of a body."""
    return InvalidArgument(
        "BODY_TOO_LARGE",
        f"{what} is larger than {max_bytes} bytes",
        field="body",
        max_body_bytes=str(max_bytes),
        suggested_fix="send less",
    )
