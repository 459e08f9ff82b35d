"""Asks a server for the descriptors of a service: reflection v1, or v1alpha where there is no v1.

The two speak the same messages. The server is a stranger: what it says is bounded in files, bytes
and time, and each answer has to bring what was asked for. Each question is a call of its own: on
one stream, grpc would tell of a write that came too late, and not why the server ended it.
"""

import time
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2 as pb

from services.chassis.errors import InvalidArgument, Unavailable, Violation, invalid
from services.tool_registry.adapters.grpc.metadata import Metadata
from services.tool_registry.adapters.grpc.methods import (
    MAX_BYTES,
    MAX_FILES,
    WELL_KNOWN,
    unknown_service,
)
from services.tool_registry.domain.grpc_target import ADDRESS, DESCRIPTORS, SECRET

SECONDS: Final = 5.0

_PATH: Final = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
_VERSIONS: Final = ("v1", "v1alpha")
_REFUSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_NOT_FOUND: Final = 5  # google.rpc.Code
_MAKE: Final = "send a descriptor_set: protoc --include_imports --descriptor_set_out=FILE"

_Ask: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"


async def described(
    channel: grpc.aio.Channel,
    service: str,
    *,
    metadata: Metadata,
    seconds: float = SECONDS,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, FileDescriptorProto]:
    """The file of the service and all that it imports, by name.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the server has no such service, or no sound reflection.
        Unavailable: `TARGET_UNAVAILABLE`.
    """
    for version in _VERSIONS:
        ask: _Ask = channel.unary_stream(_PATH.format(version))
        try:
            return await _Asking(ask, metadata, now() + seconds, now).files(service)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED and version != _VERSIONS[-1]:
                continue
            raise _failed(error) from None
    raise AssertionError("the last version returns or raises")


class _Asking:
    """One conversation with the server."""

    def __init__(
        self, ask: _Ask, metadata: Metadata, until: float, now: Callable[[], float]
    ) -> None:
        self._call = ask
        self._metadata = metadata
        self._until = until
        self._now = now
        self._files: dict[str, FileDescriptorProto] = {}
        self._left = MAX_BYTES

    async def files(self, service: str) -> dict[str, FileDescriptorProto]:
        """All that the service needs."""
        answer = await self._ask(pb.ServerReflectionRequest(file_containing_symbol=service))
        if answer.error_response.error_code == _NOT_FOUND:
            raise unknown_service(service, await self._services())
        waiting = self._take(answer)
        while waiting:
            name = waiting.pop()
            if name in self._files or name in WELL_KNOWN:
                continue
            answer = await self._ask(pb.ServerReflectionRequest(file_by_filename=name))
            waiting += self._take(answer)
            if name not in self._files:
                raise _unsound("does not have a file that it imports itself")
        return self._files

    async def _services(self) -> list[str]:
        answer = await self._ask(pb.ServerReflectionRequest(list_services="*"))
        return [each.name for each in answer.list_services_response.service]

    def _take(self, answer: pb.ServerReflectionResponse) -> list[str]:
        """Keep the files of an answer; returns what they import."""
        if answer.HasField("error_response"):
            raise _unsound("answers with an error")
        imported: list[str] = []
        for raw in answer.file_descriptor_response.file_descriptor_proto:
            try:
                file = FileDescriptorProto.FromString(raw)
            except DecodeError:
                raise _unsound("answers what is no file descriptor") from None
            if file.name not in self._files:
                self._files[file.name] = file
                imported += file.dependency
        if len(self._files) > MAX_FILES:
            raise _unsound(f"gives more than {MAX_FILES} files")
        return imported

    async def _ask(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        timeout = max(self._until - self._now(), 0)
        call = self._call(request.SerializeToString(), timeout=timeout, metadata=self._metadata)
        try:
            raw = await call.read()
        finally:
            call.cancel()
        if raw is grpc.aio.EOF:
            raise _unsound("ends without an answer")
        self._left -= len(cast("bytes", raw))
        if self._left < 0:
            raise _unsound(f"gives more than {MAX_BYTES:,} bytes")
        try:
            return pb.ServerReflectionResponse.FromString(raw)
        except DecodeError:
            raise _unsound("answers what is no reflection") from None


def _unsound(how: str) -> InvalidArgument:
    return invalid(Violation(ADDRESS, f"names a server whose reflection {how}", _MAKE))


def _failed(error: grpc.aio.AioRpcError) -> Exception:
    code = error.code()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return invalid(Violation(DESCRIPTORS, "is empty, and the server has no reflection", _MAKE))
    if code in _REFUSED:
        fix = "name a secret that it takes, or send a descriptor_set"
        return invalid(Violation(SECRET, f"does not open the server ({code.name})", fix))
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _unsound("says more at a time than is taken, or is overloaded")
    return Unavailable(
        "TARGET_UNAVAILABLE",
        f"the server did not answer reflection ({code.name})",
        field=ADDRESS,
        suggested_fix="check the address, and tls; or send a descriptor_set",
    )
