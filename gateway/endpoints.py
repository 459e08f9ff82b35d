"""RPCs as HTTP answers: a unary one is JSON, one that streams is a stream."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from grpc.aio import EOF

from gateway.codec import Method, Rule
from gateway.exchange import Exchange, too_large
from gateway.head import Head, check_json, timeout
from gateway.sender import Sender
from gateway.settings import Settings
from gateway.sse import Framing
from gateway.sse import framing as framing_of
from gateway.templates import Template
from gateway.traffic import ClientGone, Traffic, Watch
from gateway.transcode import Encoded, Transcoder
from services.chassis.errors import Unavailable, Violation, invalid

# Who has a deadline answers a twentieth before it. A call lasts longer than its task, so that the
# task has all of the time that was asked for, and still answers itself.
_LONGER: Final = 1.06
_MARGIN: Final = 1.0
# How long a stream may hang on a client that does not read, after its call is over.
STALL: Final = 10.0


class Endpoint(Protocol):
    """What answers at a route."""

    @property
    def service(self) -> str:
        """The service behind it; empty for the edge itself."""
        ...

    @property
    def route(self) -> str:
        """The template that it answers at."""
        ...

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Answer a request."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """What all endpoints share."""

    settings: Settings
    traffic: Traffic


class Rpc(ABC):
    """What answering with an RPC takes, whatever its kind."""

    def __init__(self, edge: Edge, method: Method, rule: Rule, template: Template) -> None:
        self.service = method.service
        self.route = rule.template
        self._limits = edge.settings.limits
        self._max_message_bytes = getattr(edge.settings, method.service).max_message_bytes
        self._traffic = edge.traffic
        self._transcoder = Transcoder(method, rule, template)
        self._reply = method.reply
        deadlines = edge.settings.deadlines
        self._maximum = deadlines.maximum.total_seconds()
        default = deadlines.read if rule.verb == "GET" else deadlines.effect
        self._default = (deadlines.stream if method.is_stream else default).total_seconds()

    @abstractmethod
    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Answer a request."""

    async def _encoded(self, exchange: Exchange, captures: Mapping[str, str]) -> Encoded:
        body = b""
        if self._transcoder.takes_body:
            check_json(exchange.head)
            limits = self._limits
            body = await exchange.body(max_bytes=limits.max_body_bytes, timeout=limits.body_timeout)
        elif exchange.head.has_body:
            fix = "send it without a body; fields go into path and query"
            raise invalid(Violation("body", "is not taken by this route", fix))
        head, query = exchange.head, exchange.scope["query_string"]
        encoded = self._transcoder.encode(captures, query, body, head.text(b"last-event-id"))
        if len(encoded.raw) > self._max_message_bytes:
            raise too_large(self._max_message_bytes, "the request, as protobuf,")
        return encoded

    def _seconds(self, head: Head, timeout_ms: float = 0.0) -> float:
        """How long the call may take: what the client says, else the request, else the table."""
        if said := timeout(head):
            return min(said, self._maximum)
        asked = timeout_ms / 1000 if timeout_ms > 0 else self._default
        return min(asked, self._maximum) * _LONGER + _MARGIN


class Unary(Rpc):
    """One request, one reply."""

    def __init__(
        self, edge: Edge, method: Method, rule: Rule, template: Template, channel: grpc.aio.Channel
    ) -> None:
        super().__init__(edge, method, rule, template)
        self._call: Callable[..., Any] = channel.unary_unary(method.path)

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Call, and answer with the reply."""
        encoded = await self._encoded(exchange, captures)
        call = self._call(
            encoded.raw,
            timeout=self._seconds(exchange.head, encoded.timeout_ms),
            metadata=exchange.head.metadata,
        )
        with self._traffic.watch(call, exchange.receive) as watch:
            try:
                raw = await call
            except asyncio.CancelledError:
                watch.explain()  # It was the call that was cancelled; else so is this request.
                raise
        await exchange.answer(200, self._reply.whole(raw))


class Streaming(Rpc):
    """One request, many messages."""

    def __init__(
        self, edge: Edge, method: Method, rule: Rule, template: Template, channel: grpc.aio.Channel
    ) -> None:
        super().__init__(edge, method, rule, template)
        self._call: Callable[..., Any] = channel.unary_stream(method.path)
        self._heartbeat = edge.settings.heartbeat

    async def __call__(self, exchange: Exchange, captures: Mapping[str, str]) -> None:
        """Call, and send messages as they come."""
        framing = framing_of(exchange.head.text(b"accept"))
        encoded = await self._encoded(exchange, captures)
        seconds = self._seconds(exchange.head, encoded.timeout_ms)
        tasks = self._traffic.tasks
        sender = Sender(exchange, framing, tasks)
        call = self._call(encoded.raw, timeout=seconds, metadata=exchange.head.metadata)
        beating = tasks.create_task(sender.beat(self._heartbeat))
        try:
            with self._traffic.watch(call, exchange.receive, at_once=True) as watch:
                watch.is_resumable = self._transcoder.is_resumable
                async with asyncio.timeout(seconds + STALL):
                    await self._copy(call, sender, framing, watch)
        except TimeoutError:  # The client does not read. There is nothing to tell it.
            raise ClientGone from None
        finally:
            beating.cancel()
            sender.close()
            call.cancel()

    async def _copy(self, call: Any, sender: Sender, framing: Framing, watch: Watch) -> None:
        """Send each message. The head waits for the first, so that a failure has its own status."""
        piece, framed, read = self._reply.piece, framing.message, call.read
        try:
            if (raw := await read()) is not EOF:
                await sender.start()
            while raw is not EOF:
                await sender.add(framed(piece(raw)))
                raw = await read()
            await sender.finish()
        except asyncio.CancelledError:
            await _explained(sender, watch)
            raise
        except grpc.aio.AioRpcError:
            await sender.flush()
            raise


async def _explained(sender: Sender, watch: Watch) -> None:
    """After a cancellation: if it was the call's, say why, after what came before it."""
    try:
        watch.explain()
    except Unavailable:
        await sender.flush()
        raise
