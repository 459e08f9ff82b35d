"""uvicorn's WebSockets as the edge runs them. Loaded with the first one: that takes 30 ms.

What a client sends ahead is bounded in frames and bytes, then its socket is not read. What is read
goes to the parser in slices, since a read may have thousands of frames in it.
"""

import asyncio
from collections.abc import Generator
from functools import cache
from typing import Any, Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame
from websockets.server import ServerProtocol

from gateway.settings import LimitSettings
from gateway.sweeping import Swept

_AHEAD_FRAMES: Final = 16
_AHEAD_BYTES: Final = 64 * 1024
_SLICE: Final = 4096
# How long the application has to hear by itself that its client is gone.
_NOTICE: Final = 1.0
# How long a client may go on sending what is too large, so that it reads why it is refused.
_LINGER: Final = 1.0


class _Frames(ServerProtocol):
    """Leaves it to the application to refuse a message that is too large, with an error."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code != CloseCode.MESSAGE_TOO_BIG:
            super().fail(code, reason)
            return
        self.parser = self._dropped()
        next(self.parser)

    def _dropped(self) -> Generator[None]:
        while True:
            self.reader.discard()
            yield


class SocketProtocol(Swept, WebSocketsSansIOProtocol):
    """A WebSocket's connection. No extensions: no compression, so nothing to blow up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Frames(max_size=self.limits.max_body_bytes, logger=self.logger)
        self._unread = bytearray()
        self._ahead_bytes = 0
        self._is_held = False
        self._is_too_large = False
        self._running: asyncio.Task[Any] | None = None

    @property
    def is_stalled(self) -> bool:
        return not self.writable.is_set()

    async def run_asgi(self) -> None:
        """Run the application, which answers its errors itself."""
        self._running = asyncio.current_task()
        try:
            await self.app(self.scope, self.receive, self.send)
        finally:
            self._running = None
            if self.close_timer is None:
                self.transport.close()

    def shutdown(self) -> None:
        """End it, unless it is ending: then a close frame is no longer possible."""
        if not self.transport.is_closing():
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        self._parse()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application; or end it, should it be waiting for something else than that."""
        super().connection_lost(exc)
        self._unread.clear()
        self.loop.call_later(_NOTICE, self._give_up)

    async def receive(self) -> ASGIReceiveEvent:
        event = await super().receive()
        self._ahead_bytes -= _size(event)
        self._parse()
        return event

    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        if self.close_sent:  # Not by the application: the client broke the rules, or was silent.
            raise ClientDisconnected
        await super().send(message)
        if self.close_sent:
            self._parse()  # On to the client's close frame.

    def handle_cont(self, event: Frame) -> None:
        """Gather fragments in one place: they may be many, and empty."""
        if not isinstance(self.frames[0], bytearray):
            self.frames[0] = bytearray(self.frames[0])  # type: ignore[call-overload]
        self.frames[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        data = bytes(self.frames[0])
        self.frames = []
        if self.curr_msg_data_type == "text":
            # What is not UTF-8 is refused where all text is read.
            text = data.decode("utf-8", "surrogateescape")
            self._put({"type": "websocket.receive", "text": text})
        else:
            self._put({"type": "websocket.receive", "bytes": data})

    def handle_ping(self) -> None:
        """Answer; unless the client does not read: then it need not have an answer to each."""
        output = self.conn.data_to_send()
        if self.writable.is_set():
            self.transport.write(b"".join(output))

    def keepalive_timeout(self) -> None:
        """End the connection, unless the answer may be in what was not read."""
        if self._is_held:
            self.pong_timer = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def handle_parser_exception(self) -> None:
        if not isinstance(self.conn.parser_exc, PayloadTooBig):
            if not self.close_sent:
                super().handle_parser_exception()
        elif not self._is_too_large:
            self._is_too_large = True
            self.close_timeout = _LINGER
            self.handle_events()
            self._put({"type": "websocket.receive"})  # Neither text nor bytes: too large.

    def _put(self, event: Any) -> None:
        if not self.close_sent:
            self._ahead_bytes += _size(event)
            self.queue.put_nowait(event)

    def _parse(self) -> None:
        """Parse what there is room for, and read on only when that is all there is."""
        while self._unread and self._has_room():
            piece = bytes(self._unread[:_SLICE])
            del self._unread[:_SLICE]
            super().data_received(piece)
        is_held = not self._has_room()
        if is_held != self._is_held and not self.transport.is_closing():
            self._is_held = is_held
            (self.transport.pause_reading if is_held else self.transport.resume_reading)()

    def _has_room(self) -> bool:
        if self.close_sent or self._is_too_large:
            return True  # Nothing is kept any more.
        return self.queue.qsize() < _AHEAD_FRAMES and self._ahead_bytes < _AHEAD_BYTES

    def _give_up(self) -> None:
        if self._running is not None:
            self._running.cancel()


@cache
def protocol(limits: LimitSettings) -> type[SocketProtocol]:
    """What keeps to these limits."""
    return type("EdgeSocketProtocol", (SocketProtocol,), {"limits": limits})


def _size(event: Any) -> int:
    return len(event.get("text") or event.get("bytes") or b"")
