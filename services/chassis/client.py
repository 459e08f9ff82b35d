"""How a service calls another: always with a deadline, never with retries of its own."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import grpc

from services.chassis.context import current
from services.chassis.settings import ClientSettings
from services.chassis.status import from_rpc_error
from services.chassis.tracing.rpc import called
from services.chassis.tracing.spans import Nothing, Span, is_recording

Request = TypeVar("Request")
Response = TypeVar("Response")

_ROUND_ROBIN: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


@asynccontextmanager
async def channel(settings: ClientSettings) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to a service: keepalive, round-robin over its replicas.

    Retries are the orchestrator's and the workflow worker's alone: no policy here has any. What no
    service has seen, for its connection was just closed, grpc sends on the next one.
    """
    options = [
        ("grpc.service_config", _ROUND_ROBIN),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),  # How long it may take to connect.
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),  # Else 30 s, in which all may go.
        ("grpc.http2.bdp_probe", 0),  # Else a stream that nobody reads is given megabytes.
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
    ]
    async with grpc.aio.insecure_channel(settings.target, options=options) as opened:
        yield opened


async def unary(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    timeout: float,
) -> Response:
    """Call, on behalf of the current request. `timeout` is in seconds.

    Raises:
        ServiceError: what the peer said, or that it cannot be reached.
    """
    if is_recording():
        return await _recorded(method, request, timeout)
    try:
        return await method(request, timeout=timeout, metadata=current.get().metadata())
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def _recorded(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, timeout: float
) -> Response:
    with called(_path(method)):
        try:
            return await method(request, timeout=timeout, metadata=current.get().metadata())
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None


async def streaming(
    method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
    request: Request,
    *,
    timeout: float,
    span: Span | Nothing | None = None,
) -> AsyncGenerator[Response, None]:
    """Messages of a server stream. Closing the generator cancels the call. Its span is `span`,
    which whoever made it ends; else one of its own.

    Raises:
        ServiceError: as `unary`.
    """
    calling = called(_path(method)) if span is None else span
    here = calling.context or current.get()  # Not entered: those who read are no part of it.
    call = method(request, timeout=timeout, metadata=here.metadata())
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        failed = from_rpc_error(error)
        calling.fail(failed.reason)
        raise failed from None
    finally:
        call.cancel()
        if span is None:
            calling.end()


def _path(method: object) -> bytes:
    """What is called, for which grpc has no public name."""
    path: bytes = getattr(method, "_method", b"")
    return path
