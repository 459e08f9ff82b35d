"""What every RPC passes through: its context comes in, and its errors go out as Status."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final, Never, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from services.chassis.calls import Begin, Calls
from services.chassis.context import current, from_metadata
from services.chassis.errors import DeadlineExceeded, InvalidArgument, ServiceError
from services.chassis.exemplars import example_of
from services.chassis.status import to_status
from services.chassis.tracing.rpc import Method, method, served

log = logging.getLogger(__name__)

Parse = Callable[[bytes], Any]

# Of lines about calls that failed. A flood that is turned away must not become a flood of lines.
_LEVELS: Final = {
    "RESOURCE_EXHAUSTED": logging.DEBUG,
    "UNAVAILABLE": logging.WARNING,
    "DEADLINE_EXCEEDED": logging.WARNING,
}


def _or_bytes(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Let a stream yield serialized messages, so that every watcher gets the same bytes."""
    return lambda message: message if isinstance(message, bytes) else serialize(message)


def _parsed(raw: bytes, parse: Parse) -> Any:
    try:
        return parse(raw)
    except DecodeError:
        fix = "send what the .proto describes, nested at most 30 levels deep"
        raise InvalidArgument(
            "INVALID_REQUEST", "the request is not the message it should be", suggested_fix=fix
        ) from None


async def _each_parsed(raws: AsyncIterator[bytes], parse: Parse) -> AsyncIterator[Any]:
    async for raw in raws:
        yield _parsed(raw, parse)


class _Registry:
    """Stands in for a server while generated code registers a servicer.

    Handlers are found by their names alone. grpc knows a second way, `registered` methods, for
    which its loop waits for each of them anew with every call: 30 µs with the methods of a service.
    """

    def __init__(self, server: grpc.aio.Server, wrap: Callable[[str, str, Any], Any]) -> None:
        self._server = server
        self._wrap = wrap

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """The same handlers come again, by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register, wrapped."""
        wrapped = {name: self._wrap(service, name, each) for name, each in handlers.items()}
        generic = grpc.method_handlers_generic_handler(service, wrapped)
        self._server.add_generic_rpc_handlers((generic,))


class Boundary:
    """Sets `context.current` for the handler, and turns what it raises into a Status.

    A call that comes without a deadline gets one. `CancelledError` passes through: the
    caller has gone, and the handler has to stop. Handlers are wrapped when they are registered;
    grpc's own interceptors would cost 20 µs a call.
    """

    def __init__(self, *, domain: str, timeout: timedelta, calls: Calls | None = None) -> None:
        self._domain = domain
        self._calls = calls or Calls()
        self._timeout = timeout.total_seconds()

    def before(self, server: grpc.aio.Server) -> grpc.aio.Server:
        """A server to register with: what is registered there is wrapped and put on `server`."""
        return cast(grpc.aio.Server, _Registry(server, self._wrap))

    def _wrap(self, service: str, name: str, handler: Any) -> Any:  # grpc has no type for it
        parse, of = handler.request_deserializer, method(service, name)
        begin = self._calls.of(service, name)
        if handler.unary_unary:
            unary = self._unary(of, handler.unary_unary, parse, begin)
            return handler._replace(unary_unary=unary, request_deserializer=None)
        if not handler.response_streaming:
            raise TypeError("this kind of RPC is not wrapped")
        kind = "stream_stream" if handler.request_streaming else "unary_stream"
        read = _each_parsed if handler.request_streaming else _parsed
        stream = self._stream(of, getattr(handler, kind), lambda raw: read(raw, parse), begin)
        return handler._replace(
            **{kind: stream},
            request_deserializer=None,
            response_serializer=_or_bytes(handler.response_serializer),
        )

    def _unary(
        self, of: Method, inner: Callable[[Any, Any], Awaitable[Any]], parse: Parse, begin: Begin
    ) -> Any:
        async def unary(raw: bytes, context: Any) -> Any:
            call = begin(context)
            try:
                current.set(known := from_metadata(context.invocation_metadata()))
                call.trace_id = example_of(known)
                with served(of):
                    request = _parsed(raw, parse)
                    if context.time_remaining() is not None:
                        return await inner(request, context)
                    async with asyncio.timeout(self._timeout):
                        return await inner(request, context)
            except Exception as error:  # noqa: BLE001 - the one place that renders every error
                await self._abort(of.name, context, error)

        return unary

    def _stream(
        self,
        of: Method,
        inner: Callable[[Any, Any], AsyncIterator[Any]],
        read: Callable[[Any], Any],
        begin: Begin,
    ) -> Any:
        async def stream(raw: Any, context: Any) -> AsyncIterator[Any]:
            call = begin(context)
            try:
                current.set(known := from_metadata(context.invocation_metadata()))
                call.trace_id = example_of(known)
                left = None if context.time_remaining() is not None else self._timeout
                with served(of):
                    request = read(raw)
                    async with asyncio.timeout(left), aclosing(inner(request, context)) as messages:  # type: ignore[type-var]
                        async for message in messages:
                            yield message
            except Exception as error:  # noqa: BLE001 - as above
                await self._abort(of.name, context, error)

        return stream

    async def _abort(self, name: str, context: Any, error: Exception) -> Never:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, TimeoutError):
            error = DeadlineExceeded("DEADLINE_EXCEEDED", "the deadline passed")
        if isinstance(error, ServiceError):
            facts = {"rpc": name, "grpc_status": error.code, "error_code": error.reason}
            log.log(_LEVELS.get(error.code, logging.INFO), "call failed", extra=facts)
            status = to_status(error, domain=self._domain)
            await context.abort_with_status(rpc_status.to_status(status))
        else:
            log.error("unhandled error", exc_info=error, extra={"rpc": name})
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")
        raise AssertionError("abort returned")
