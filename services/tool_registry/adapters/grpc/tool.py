"""Tools that are unary methods of gRPC services, found by reflection or a descriptor set."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Self, TypeAlias, cast

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.chassis.egress.secrets import Scrub
from services.chassis.errors import FailedPrecondition, Unavailable
from services.tool_registry.adapters.grpc.channels import Channels, Resolver
from services.tool_registry.adapters.grpc.entry import completed
from services.tool_registry.adapters.grpc.faults import failure, unreached
from services.tool_registry.adapters.grpc.messages import Messages
from services.tool_registry.adapters.grpc.metadata import Metadata, metadata, secret_of
from services.tool_registry.adapters.grpc.methods import MAX_BYTES, Files, found, parsed
from services.tool_registry.adapters.grpc.reflection import SECONDS, described
from services.tool_registry.domain import grpc_target as targets
from services.tool_registry.domain.refusals import TARGET_REFUSED, not_called
from services.tool_registry.domain.targets import Grpc, Target
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Answer, Invocation, Secrets

_Unary: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"


class GrpcTools:
    """Makes tools of `Grpc` targets. Its context holds the connections they share."""

    def __init__(
        self,
        resolver: Resolver,
        secrets: Secrets,
        *,
        result_bytes: int,
        roots: bytes | None = None,
        reflection_seconds: float = SECONDS,
    ) -> None:
        """`roots` are trusted instead of gRPC's own, in PEM."""
        most = max(result_bytes, MAX_BYTES)  # Reflection is bounded otherwise.
        self._channels = Channels(resolver, max_bytes=most, roots=roots)
        self._result_bytes = result_bytes
        self._reflection_seconds = reflection_seconds
        self._secrets = secrets
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._channels)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """See `Maker`. With the descriptors of its method, and with the schemas that it lacks.

        Raises:
            InvalidArgument: `INVALID_REQUEST`, with the field, or `TARGET_REFUSED`.
            Unavailable: `TARGET_UNAVAILABLE`; it did not answer reflection.
            FailedPrecondition: `SECRET_NOT_FOUND`.
        """
        target = cast("Grpc", entry.target)
        try:
            files = await self._files(target, tenant)
        except FailedPrecondition as error:
            if error.reason != TARGET_REFUSED:
                raise
            raise not_called(error, targets.ADDRESS) from None
        return await asyncio.to_thread(completed, entry, files)

    def made(self, entry: Entry, tenant: str) -> "GrpcTool":
        """See `Maker`."""
        return GrpcTool(entry, self._channels, self._secrets, self._result_bytes)

    def unavailable(self, target: Target, tenant: str) -> str:
        """See `Maker`."""
        return ""

    async def _files(self, target: Grpc, tenant: str) -> Files:
        if target.descriptor_set:
            with suppress(Unavailable):  # It need not be there yet.
                await self._channels.addresses(target)
            return parsed(target.descriptor_set, field=targets.DESCRIPTORS)
        service, _ = targets.service_and_method(target.method)
        sent = metadata(target, await secret_of(target, self._secrets, tenant))
        async with self._channels.lent(target) as channel:
            return await described(
                channel, service, metadata=sent, seconds=self._reflection_seconds
            )


class GrpcTool:
    """A unary method of a gRPC service."""

    unavailable = ""

    def __init__(
        self, entry: Entry, channels: Channels, secrets: Secrets, result_bytes: int
    ) -> None:
        self.entry = entry
        self._target = cast("Grpc", entry.target)
        self._channels = channels
        self._secrets = secrets
        self._result_bytes = result_bytes
        self._messages: Messages | None = None

    async def call(self, invocation: Invocation) -> Answer:
        """See `Tool`.

        Raises:
            InvalidArgument: `TOOL_INPUT_INVALID`; the message does not take it.
            ToolFailure: `GRPC_` and the code that the server gave; `TOOL_OUTPUT_INVALID`,
                `TOOL_RESULT_TOO_LARGE`.
            FailedPrecondition: `TARGET_REFUSED` or `SECRET_NOT_FOUND`.
            Unavailable: `TOOL_UNAVAILABLE`; it cannot be reached, or says so itself.
            ResourceExhausted: `TOOL_RATE_LIMITED`.
            DeadlineExceeded: `TOOL_TIMEOUT`.
        """
        if (messages := self._messages) is None:
            messages = self._messages = await asyncio.to_thread(self._load)
        request = await messages.encoded(invocation.arguments)
        secret = await secret_of(self._target, self._secrets, invocation.tenant)
        scrub = Scrub([secret])
        sent = metadata(self._target, secret, key=invocation.idempotency_key)
        raw = await self._sent(request, invocation, sent, scrub)
        return Answer(await messages.decoded(raw, self.entry.definition.name, scrub))

    async def _sent(
        self, request: bytes, invocation: Invocation, sent: Metadata, scrub: Scrub
    ) -> bytes:
        name, target = self.entry.definition.name, self._target
        timeout = invocation.timeout.total_seconds()
        try:
            async with self._channels.lent(target) as channel:
                method: _Unary = channel.unary_unary(f"/{target.method}")
                return await method(request, timeout=timeout, metadata=sent)
        except grpc.aio.AioRpcError as error:
            raise failure(error, name, invocation.timeout, scrub) from None
        except Unavailable:  # The host has no address.
            raise unreached(name) from None

    def _load(self) -> Messages:
        """What the method takes and gives; it takes some milliseconds, once."""
        kept = FileDescriptorSet.FromString(self._target.descriptor_set).file
        method = found(kept, self._target.method, field=targets.DESCRIPTORS)
        return Messages(method, max_bytes=self._result_bytes)
