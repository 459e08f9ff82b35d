"""What every RPC passes through: its context comes in, and its errors go out as Status."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Never

import grpc
from grpc_status import rpc_status

from services.chassis.context import current, from_metadata
from services.chassis.errors import ServiceError
from services.chassis.status import to_status

log = logging.getLogger(__name__)


def _or_bytes(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Let a stream yield serialized messages, so that every watcher gets the same bytes."""
    return lambda message: message if isinstance(message, bytes) else serialize(message)


class Boundary(grpc.aio.ServerInterceptor):
    """Sets `context.current` for the handler, and turns what it raises into a Status.

    A unary call that comes without a deadline gets one. `CancelledError` passes through: the
    caller has gone, and the handler has to stop.
    """

    def __init__(self, *, domain: str, timeout: timedelta) -> None:
        self._domain = domain
        self._timeout = timeout.total_seconds()
        self._wrapped: dict[str, Any] = {}  # Of methods that exist, so it is bounded.

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap a handler, once for each method."""
        method = handler_call_details.method
        if (known := self._wrapped.get(method)) is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:  # grpc answers UNIMPLEMENTED.
            return handler
        self._wrapped[method] = wrapped = self._wrap(handler)
        return wrapped

    def _wrap(self, handler: Any) -> Any:  # grpc does not say what a handler is
        if handler.unary_unary:
            return handler._replace(unary_unary=self._unary(handler.unary_unary))
        if inspect.isasyncgenfunction(handler.unary_stream):
            return handler._replace(
                unary_stream=self._stream(handler.unary_stream),
                response_serializer=_or_bytes(handler.response_serializer),
            )
        if inspect.isasyncgenfunction(handler.stream_stream):
            return handler._replace(stream_stream=self._stream(handler.stream_stream))
        return handler

    def _unary(self, inner: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        async def unary(request: Any, context: Any) -> Any:
            try:
                current.set(from_metadata(context.invocation_metadata()))
                if context.time_remaining() is not None:
                    return await inner(request, context)
                async with asyncio.timeout(self._timeout):
                    return await inner(request, context)
            except Exception as error:  # noqa: BLE001 - the one place that renders every error
                await self._abort(context, error)

        return unary

    def _stream(self, inner: Callable[[Any, Any], AsyncIterator[Any]]) -> Any:
        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                current.set(from_metadata(context.invocation_metadata()))
                async with aclosing(inner(request, context)) as messages:  # type: ignore[type-var]
                    async for message in messages:
                        yield message
            except Exception as error:  # noqa: BLE001 - as above
                await self._abort(context, error)

        return stream

    async def _abort(self, context: Any, error: Exception) -> Never:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if isinstance(error, ServiceError):
            status = to_status(error, domain=self._domain)
            await context.abort_with_status(rpc_status.to_status(status))
        elif isinstance(error, TimeoutError):
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed")
        else:
            log.error("unhandled error", exc_info=error)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")
        raise AssertionError("abort returned")
