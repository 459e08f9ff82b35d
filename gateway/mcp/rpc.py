"""RPCs as MCP's handlers call them: JSON in, JSON out, on behalf of whoever asked."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc.aio import EOF
from uvicorn._types import ASGIReceiveCallable

from gateway import codec
from gateway.codec import Method, Rule
from gateway.endpoints import Edge
from gateway.head import Head, timeout
from gateway.mcp import refusals
from gateway.mcp.operations import Operation
from gateway.templates import Template
from gateway.transcode import ALL, Transcoder
from services.chassis.context import RequestContext
from services.chassis.errors import ServiceError

Reply = dict[str, Any]

_ROOT: Final = Template(("",), ())
_WHOLE: Final = Rule("POST", "/", ALL)
# A call lasts longer than what it waits for, so that this can still say itself what went wrong.
_LONGER: Final = 1.06
_MARGIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf calls are made."""

    head: Head
    context: RequestContext
    receive: ASGIReceiveCallable | None
    """Says when the client is gone; None where somebody else listens for that."""
    operation: Operation
    """What is asked for, for those who count it."""

    @property
    def tenant(self) -> str:
        """Whose tools and tasks these are."""
        return self.context.principal.tenant

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes to services with each call."""
        return self.context.metadata()


class Rpc:
    """One RPC."""

    def __init__(self, edge: Edge, method: Method, channel: grpc.aio.Channel) -> None:
        self._service = method.service
        self._traffic = edge.traffic
        self._transcoder = Transcoder(method, _WHOLE, _ROOT)
        self._reply = method.reply
        self._maximum = edge.settings.deadlines.maximum.total_seconds()
        open_call = channel.unary_stream if method.is_stream else channel.unary_unary
        self._call: Callable[..., Any] = open_call(method.path)

    async def __call__(
        self, caller: Caller, request: Mapping[str, Any], *, seconds: float
    ) -> Reply:
        """Call, and return the reply. `seconds` is how long what is asked for may take.

        Raises:
            Refused: it failed.
            ClientGone: there is nobody to tell.
        """
        return self.parsed(await self.raw(caller, request, seconds=seconds))

    async def raw(self, caller: Caller, request: Mapping[str, Any], *, seconds: float) -> bytes:
        """The same, with the reply as it came."""
        try:
            call = self._started(caller, request, seconds)
            with self._traffic.watch(call, caller.receive) as watch:
                try:
                    raw: bytes = await call
                except asyncio.CancelledError:
                    watch.explain()  # It was the call that was cancelled; else so is this request.
                    raise
        except grpc.aio.AioRpcError as error:
            raise refusals.from_rpc(error, self._service, caller.context) from None
        except ServiceError as error:
            raise refusals.from_error(error, caller.context) from None
        return raw

    def parsed(self, raw: bytes) -> Reply:
        """A reply, with all of its fields."""
        return self._reply.loaded(raw)

    def longest(self, caller: Caller, seconds: float) -> float:
        """How long a call lasts at most, of something that may take so many seconds: what the
        client says comes first."""
        said = min(timeout(caller.head), self._maximum)
        return said or min(seconds, self._maximum) * _LONGER + _MARGIN

    async def stream(
        self, caller: Caller, request: Mapping[str, Any], *, seconds: float
    ) -> AsyncGenerator[Reply, None]:
        """Call, and yield messages with the fields that they have. Closing it cancels the call.

        Raises: as a call.
        """
        call = None
        try:
            call = self._started(caller, request, seconds)
            with self._traffic.watch(call, caller.receive, at_once=True) as watch:
                try:
                    while (raw := await call.read()) is not EOF:
                        yield json.loads(self._reply.piece(raw)[2])
                except asyncio.CancelledError:
                    watch.explain()
                    raise
        except grpc.aio.AioRpcError as error:
            raise refusals.from_rpc(error, self._service, caller.context) from None
        except ServiceError as error:
            raise refusals.from_error(error, caller.context) from None
        finally:
            if call is not None:
                call.cancel()

    def _started(self, caller: Caller, request: Mapping[str, Any], seconds: float) -> Any:
        body = json.dumps(request).encode()
        encoded = self._transcoder.encode({}, b"", body)
        longest = self.longest(caller, seconds)
        return self._call(encoded.raw, timeout=longest, metadata=caller.metadata)


class Services:
    """All RPCs, by their short names such as `ToolRegistryService/CallTool`."""

    def __init__(self, edge: Edge, channels: Mapping[str, grpc.aio.Channel]) -> None:
        methods = {each.path.rpartition(".")[2]: each for each in codec.methods()}
        self._rpcs = {
            name: Rpc(edge, each, channels[each.service])
            for name, each in methods.items()
            if not each.is_bidi
        }

    def __getitem__(self, name: str) -> Rpc:
        """The RPC of this name."""
        return self._rpcs[name]
