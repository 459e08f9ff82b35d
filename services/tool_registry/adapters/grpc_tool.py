"""Tools that are unary methods of gRPC services, found by reflection or a descriptor set."""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Final, Protocol, TypeAlias, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.chassis.context import IDEMPOTENCY_KEY, TRACE_KEY, current
from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    Unavailable,
    Violation,
    invalid,
)
from services.chassis.schema import Schema
from services.tool_registry.adapters import grpc_schema as schemas
from services.tool_registry.adapters import grpc_targets as targets
from services.tool_registry.adapters.grpc_channels import Channels, Resolver
from services.tool_registry.adapters.grpc_faults import failure, without
from services.tool_registry.adapters.grpc_messages import Messages
from services.tool_registry.adapters.grpc_methods import Files, found, needed, parsed, serialized
from services.tool_registry.adapters.grpc_reflection import described
from services.tool_registry.domain.targets import Grpc
from services.tool_registry.domain.tool import Entry
from services.tool_registry.ports import Answer, Invocation, Tool

_SENDABLE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,256}")
_Unary: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"


class Secrets(Protocol):
    """Knows the secrets of tenants."""

    async def get(self, tenant: str, name: str) -> str:
        """The secret. Raises FailedPrecondition `SECRET_NOT_FOUND`."""


class GrpcTools:
    """Makes tools of `Grpc` targets. Its context holds the connections they share."""

    def __init__(
        self,
        resolver: Resolver,
        secrets: Secrets,
        *,
        result_bytes: int,
        roots: bytes | None = None,
    ) -> None:
        """`roots` are trusted instead of gRPC's own, in PEM."""
        self._channels = Channels(resolver, max_bytes=result_bytes, roots=roots)
        self._secrets = secrets
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "GrpcTools":
        await self._stack.enter_async_context(self._channels)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def checked(self, entry: Entry, tenant: str) -> Entry:
        """The entry with the descriptors of its method, and with the schemas that it lacks.

        Raises:
            InvalidArgument: `INVALID_REQUEST`, with the field; what cannot be a tool.
            Unavailable: `TARGET_UNAVAILABLE`; it did not answer reflection.
            ServiceError: as `Resolver.resolve` and `Secrets.get`.
        """
        target = cast("Grpc", entry.target)
        targets.check(target)
        if target.descriptor_set:
            files: Files = parsed(target.descriptor_set, field=targets.DESCRIPTORS)
            await self._allow(target)
        else:
            files = await self._reflected(target, tenant)
        return await asyncio.to_thread(completed, entry, files)

    def made(self, entry: Entry, tenant: str) -> Tool:
        """The tool, ready to be called."""
        return GrpcTool(entry, tenant, self._channels, self._secrets)

    async def _allow(self, target: Grpc) -> None:
        """Refuse an address that must not be called. It need not be there yet."""
        try:
            await self._channels.addresses(target)
        except Unavailable:
            return

    async def _reflected(self, target: Grpc, tenant: str) -> Files:
        service, _ = targets.service_and_method(target.method)
        metadata = [*target.metadata.items()]
        if target.secret:
            metadata.append(_authorization(await self._secrets.get(tenant, target.secret)))
        async with self._channels.lent(target) as channel:
            return await described(channel, service, metadata=metadata)


class GrpcTool:
    """A unary method of a gRPC service."""

    unavailable = ""

    def __init__(self, entry: Entry, tenant: str, channels: Channels, secrets: Secrets) -> None:
        self.entry = entry
        self._target = cast("Grpc", entry.target)
        self._tenant = tenant
        self._channels = channels
        self._secrets = secrets
        self._messages: Messages | None = None

    async def call(self, invocation: Invocation) -> Answer:
        """Call the method."""
        name, target = self.entry.definition.name, self._target
        if (messages := self._messages) is None:
            messages = self._messages = await asyncio.to_thread(self._load)
        request = await messages.encoded(invocation.arguments)
        secret = await self._secrets.get(self._tenant, target.secret) if target.secret else ""
        metadata = _metadata(target.metadata, invocation.idempotency_key, secret)
        async with self._channels.lent(target) as channel:
            method: _Unary = channel.unary_unary(f"/{target.method}")
            timeout = invocation.timeout.total_seconds()
            try:
                raw = await method(request, timeout=timeout, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                raise failure(error, name, invocation.timeout, secret) from None
        return Answer(without(await messages.decoded(raw, name), secret))

    def _load(self) -> Messages:
        """What the method takes and gives; it takes some milliseconds, once."""
        kept = FileDescriptorSet.FromString(self._target.descriptor_set).file
        return Messages(found(kept, self._target.method, field=targets.DESCRIPTORS))


def completed(entry: Entry, files: Files) -> Entry:
    """The entry with what these files say of its method; pure.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, with the field.
    """
    target = cast("Grpc", entry.target)
    field = targets.DESCRIPTORS if target.descriptor_set else targets.ADDRESS
    service, _ = targets.service_and_method(target.method)
    order = needed(files, service, field=field)
    method = found(order, target.method, field=field)
    kept, comments = serialized(order), schemas.comments_of(order)
    definition = entry.definition
    if not definition.input_schema.document:
        definition = replace(definition, input_schema=_input_schema(method.request, comments))
    if not definition.output_schema.document:
        definition = replace(definition, output_schema=_output_schema(method.response, comments))
    return replace(entry, definition=definition, target=replace(target, descriptor_set=kept))


def _input_schema(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    """Without comments if it is too large with them."""
    try:
        return Schema(schemas.input_schema(message, comments), field="input")
    except InvalidArgument as error:
        if comments:
            return _input_schema(message, {})
        told = error.message.partition(": ")[2]
        problem = f"takes a {message.full_name}, whose schema {told}"[:300]
        fix = "send an input_schema of your own, with what callers need"
        raise invalid(Violation(targets.METHOD, problem, fix)) from None


def _output_schema(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    """Any JSON where a message has no schema within bounds: its descriptor checks the answer."""
    for said in (comments, {}):
        try:
            return Schema(schemas.output_schema(message, said), field="output")
        except InvalidArgument:
            continue
    return Schema({}, field="output")


def _metadata(declared: Mapping[str, str], key: str, secret: str) -> list[tuple[str, str]]:
    metadata = [*declared.items()]
    if key:
        is_plain = _KEY.fullmatch(key) is not None
        sent = key if is_plain else hashlib.sha256(key.encode(errors="replace")).hexdigest()
        metadata.append((IDEMPOTENCY_KEY, sent))
    if (context := current.get(None)) is not None:
        metadata += [pair for pair in context.metadata() if pair[0] == TRACE_KEY]
    if secret:
        metadata.append(_authorization(secret))
    return metadata


def _authorization(secret: str) -> tuple[str, str]:
    if not _SENDABLE.fullmatch(secret):
        message = "the secret has characters that metadata cannot have"
        raise FailedPrecondition("SECRET_INVALID", message, field=targets.SECRET)
    return ("authorization", f"Bearer {secret}")
