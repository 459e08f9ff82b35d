"""One WebSocket, over ASGI: text frames in, text frames out, and the error that may end it.

It is to a conversation what `exchange.py` is to a request.
"""

from contextlib import suppress
from typing import Final

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, WebSocketScope

from gateway.errors import CLIENT_CLOSED, Failure
from gateway.exchange import too_large
from gateway.served import Served
from gateway.traffic import ClientGone
from services.chassis.errors import InvalidArgument

OK: Final = 1000
_UNSUPPORTED: Final = 1003
_POLICY: Final = 1008  # Any fault of the client's, as 400 is in HTTP.
_INTERNAL: Final = 1011
_TRY_AGAIN: Final = 1013
_REASON_BYTES: Final = 123
_SWITCHING: Final = 101

# What a close frame says beside an error; else it depends on whose fault it is.
_CODES: Final = {
    415: _UNSUPPORTED,
    429: _TRY_AGAIN,
    CLIENT_CLOSED: _INTERNAL,  # It was the service that gave up: this client is still there.
    503: _TRY_AGAIN,
}


def close_code(http: int) -> int:
    """The WebSocket's number for an error that HTTP has a number for."""
    return _CODES.get(http, _POLICY if http < 500 else _INTERNAL)


class WebSocket(Served):
    """A socket from its handshake to its close frame.

    Its status is 101 once it is open, and what it failed with, if it did.
    """

    __slots__ = ("_is_open", "_receive", "_send")

    scope: WebSocketScope

    def __init__(
        self, scope: WebSocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        super().__init__(scope)
        self._receive = receive
        self._send = send
        self._is_open = False

    async def accept(self) -> None:
        """Answer the handshake. Raises `ClientGone`."""
        if (await self._receive())["type"] != "websocket.connect":
            raise ClientGone
        headers = [(b"x-request-id", self.context.request_id.encode())]
        await self._out({"type": "websocket.accept", "subprotocol": None, "headers": headers})
        self._is_open = True
        self._note(_SWITCHING)

    async def read(self, max_bytes: int) -> bytes:
        """The next text.

        Raises:
            InvalidArgument: `BODY_TOO_LARGE`, or `MEDIA_TYPE_UNSUPPORTED`: it is no text.
            ClientGone: there is none.
        """
        event = await self._receive()
        if event["type"] != "websocket.receive":
            raise ClientGone
        text = event.get("text")
        if text is None and event.get("bytes") is not None:
            raise InvalidArgument(
                "MEDIA_TYPE_UNSUPPORTED",
                "binary frames are not taken here",
                field="body",
                suggested_fix="send JSON in text frames",
            )
        data = b"" if text is None else text.encode("utf-8", "surrogateescape")
        if text is None or len(data) > max_bytes:
            raise too_large(max_bytes, "the frame")
        return data

    async def text(self, text: str) -> None:
        """Send a text. Waits while the client does not read. Raises `ClientGone`."""
        await self._out({"type": "websocket.send", "bytes": None, "text": text})

    async def close(self, code: int = OK, reason: str = "") -> None:
        """Send the close frame. Raises `ClientGone`."""
        shown = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
        await self._out({"type": "websocket.close", "code": code, "reason": shown})

    async def fail(self, failure: Failure) -> None:
        """Say what went wrong: as an HTTP response instead of a socket, or as the last text."""
        with suppress(ClientGone):
            if not self._is_open:
                await self._refuse(failure)
                return
            self._broke(failure)
            await self.text(failure.body.decode())
            await self.close(close_code(failure.http), failure.reason)

    async def _refuse(self, failure: Failure) -> None:
        self._note(failure.http)
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await self.close(close_code(failure.http), failure.reason)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(failure.body)),
            (b"x-request-id", self.context.request_id.encode()),
            *failure.headers,
        ]
        await self._out(
            {
                "type": "websocket.http.response.start",
                "status": failure.http,
                "headers": headers,
            }
        )
        await self._out(
            {"type": "websocket.http.response.body", "body": failure.body, "more_body": False}
        )

    async def _out(self, event: ASGISendEvent) -> None:
        try:
            await self._send(event)
        except OSError:  # What ASGI servers raise when there is no one to send to.
            raise ClientGone from None
