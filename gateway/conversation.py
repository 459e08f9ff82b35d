"""RPCs that stream both ways, as WebSockets: a text frame is a request, each reply is one."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import grpc
from grpc.aio import EOF

from gateway.codec import Method, Rule
from gateway.endpoints import STALL, Edge, Rpc
from gateway.exchange import Exchange, too_large
from gateway.templates import Template
from gateway.traffic import ClientGone, Watch
from gateway.transcode import AFTER, ALL, Encoded
from gateway.websocket import WebSocket
from services.chassis.errors import InvalidArgument, Violation, invalid


class Conversation(Rpc):
    """Many requests, many replies."""

    def __init__(
        self, edge: Edge, method: Method, rule: Rule, template: Template, channel: grpc.aio.Channel
    ) -> None:
        if rule.verb != "GET" or rule.body or template.captures:
            raise ValueError(
                f"{method.path} streams both ways, so its rule is a get of a plain path"
            )
        super().__init__(edge, method, replace(rule, body=ALL), template)
        self._call: Callable[..., Any] = channel.stream_stream(method.path)
        self._members = method.request.shape.fields

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Refuse a request that opens no WebSocket."""
        path = exchange.scope["raw_path"].decode()
        raise InvalidArgument(
            "UPGRADE_REQUIRED",
            f"{path} is a WebSocket, and this request opens none",
            suggested_fix=f"open ws://HOST{path} with a WebSocket client (RFC 6455, version 13)",
        )

    async def converse(self, socket: WebSocket) -> None:
        """Open the socket, call, and carry messages both ways until the call ends."""
        head, query = socket.head, socket.scope["query_string"]
        if query:
            fix = "leave it out; what you have to say goes into frames"
            raise invalid(Violation("query string", "is not taken by this route", fix))
        seconds = self._seconds(head)
        await socket.accept()
        call = self._call(timeout=seconds, metadata=head.metadata)
        with self._traffic.watch(call, None) as watch:
            taking = self._traffic.tasks.create_task(self._take(socket, call, watch))
            try:
                async with asyncio.timeout(seconds + STALL):
                    await self._copy(call, socket, watch)
            except TimeoutError:  # The client does not read. There is nothing to tell it.
                raise ClientGone from None
            finally:
                taking.cancel()
                call.cancel()

    async def _copy(self, call: Any, socket: WebSocket, watch: Watch) -> None:
        """Send each reply before the next is read."""
        piece, read = self._reply.piece, call.read
        try:
            while (raw := await read()) is not EOF:
                await socket.text(piece(raw)[2])
        except asyncio.CancelledError:
            watch.explain()  # It was the call that was cancelled; else so is this socket.
            raise
        await socket.close()

    async def _take(self, socket: WebSocket, call: Any, watch: Watch) -> None:
        """Write each frame to the call before the next is read. What goes wrong ends the call."""
        watch.is_resumable = True  # Nothing is lost as long as nothing was said.
        try:
            encoded = self._encoded_frame(await socket.read(self._limits.max_body_bytes))
            watch.is_resumable = self._resumes(encoded)
            await call.write(encoded.raw)
            while True:
                data = await socket.read(self._limits.max_body_bytes)
                await call.write(self._encoded_frame(data).raw)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # The call is over, and who reads from it hears why.
        except Exception as error:  # noqa: BLE001 - raised again where the call is awaited
            watch.end(error)

    def _encoded_frame(self, data: bytes) -> Encoded:
        encoded = self._transcoder.encode({}, b"", data)
        if len(encoded.raw) > self._max_message_bytes:
            raise too_large(self._max_message_bytes, "the request, as protobuf,")
        return encoded

    def _resumes(self, encoded: Encoded) -> bool:
        """Whether a first message that says from where on can be said again elsewhere."""
        member = self._members.get(encoded.choice)
        return bool(member and member.message and AFTER in member.message.fields)
