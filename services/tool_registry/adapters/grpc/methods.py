"""A method out of file descriptors: which messages it takes and gives, in a pool of its own; pure.

Descriptors come from strangers. What `google.protobuf` has is always taken from the library, since
JSON forms hang on those names; anything else only exists in the pool of the one method.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Final

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from services.chassis.errors import InvalidArgument, Violation, invalid
from services.tool_registry.domain.grpc_target import METHOD, service_and_method
from services.tool_registry.domain.texts import line

MAX_FILES: Final = 200
MAX_BYTES: Final = 2 * 1024 * 1024

_MODULES: Final = (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
WELL_KNOWN: Final[Mapping[str, FileDescriptorProto]] = {
    module.DESCRIPTOR.name: FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for module in _MODULES
}
"""Files that need not be there, and whose contents do not count when they are."""

Files = Mapping[str, FileDescriptorProto]

_SHOWN: Final = 12
_REMAKE: Final = "make it with protoc --include_imports --descriptor_set_out=FILE"
_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Method:
    """A unary method."""

    path: str
    """`/package.Service/Method`."""
    file: str
    """Where the service is declared."""
    pool: DescriptorPool
    request: Descriptor
    response: Descriptor


def parsed(raw: bytes, *, field: str) -> dict[str, FileDescriptorProto]:
    """The files of a serialized FileDescriptorSet, in its order. `field` says where it stands.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is none, or too large.
    """
    if len(raw) > MAX_BYTES:
        fix = "leave out the files that the method does not need"
        raise invalid(Violation(field, f"has more than {MAX_BYTES:,} bytes", fix))
    try:
        files = FileDescriptorSet.FromString(raw).file
    except DecodeError:
        raise invalid(Violation(field, "is no FileDescriptorSet", _REMAKE)) from None
    by_name: dict[str, FileDescriptorProto] = {}
    for file in files:
        by_name.setdefault(file.name, file)
    return by_name


def needed(files: Files, service: str, *, field: str) -> list[FileDescriptorProto]:
    """The file of the service and all that it imports, each after those that it imports.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; there is no such service, or something is missing.
    """
    graph: dict[str, Sequence[str]] = {}
    waiting = [_file_of(files, service)]
    while waiting:
        file = waiting.pop()
        if file.name in graph:
            continue
        if len(graph) >= MAX_FILES:
            raise invalid(Violation(field, f"needs more than {MAX_FILES} files", "split the API"))
        graph[file.name] = list(file.dependency)
        waiting += [_imported(files, file, name, field) for name in file.dependency]
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        names = " → ".join(_short(name) for name in error.args[1][:4])
        message = f"has files that import each other: {names}"
        raise invalid(Violation(field, message, _REMAKE)) from None
    return [WELL_KNOWN.get(name) or files[name] for name in order]


def found(files: Iterable[FileDescriptorProto], method: str, *, field: str) -> Method:
    """The method among files that are in order.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; it is not there or is not unary, or the files are wrong.
    """
    service, name = service_and_method(method)
    pool = _pooled(files, field)
    described = pool.FindServiceByName(service)
    if (its := described.methods_by_name.get(name)) is None:
        raise _missing(described, name)
    if its.client_streaming or its.server_streaming:
        fix = f"use one of {_listed(_unary(described))}"
        raise invalid(Violation(METHOD, "streams; a tool is a method with one answer", fix))
    return Method(f"/{service}/{name}", described.file.name, pool, its.input_type, its.output_type)


def serialized(files: Iterable[FileDescriptorProto]) -> bytes:
    """The files as they are kept, without comments."""
    kept = FileDescriptorSet(file=files)
    for file in kept.file:
        file.ClearField("source_code_info")
    return kept.SerializeToString(deterministic=True)


def unknown_service(service: str, known: Iterable[str]) -> InvalidArgument:
    """That there is no such service, and which there are."""
    message = f"names {_short(service)}, which is not there; there are {_listed(known)}"
    return invalid(Violation(METHOD, message, "use one of these services"))


def _file_of(files: Files, service: str) -> FileDescriptorProto:
    known = {
        f"{file.package}.{each.name}" if file.package else each.name: file
        for file in files.values()
        for each in file.service
    }
    if service not in known:
        raise unknown_service(service, known)
    return known[service]


def _imported(
    files: Files, file: FileDescriptorProto, name: str, field: str
) -> FileDescriptorProto:
    its = WELL_KNOWN.get(name) or files.get(name)
    if its is None:
        message = f"lacks {_short(name)}, which {_short(file.name)} imports"
        raise invalid(Violation(field, message, _REMAKE))
    if its.package == "google.protobuf" and name not in WELL_KNOWN:
        message = f"has {_short(name)}, which is a google.protobuf of its own"
        fix = "import google/protobuf/….proto, as protoc brings them"
        raise invalid(Violation(field, message, fix))
    return its


def _pooled(files: Iterable[FileDescriptorProto], field: str) -> DescriptorPool:
    pool = DescriptorPool()
    for file in files:
        try:
            pool.AddSerializedFile(file.SerializeToString())
        except (TypeError, ValueError) as error:
            told = _short(str(error).partition(": ")[2] or str(error))
            message = f"has {_short(file.name)}, which is wrong: {told}"
            raise invalid(Violation(field, message, _REMAKE)) from None
    return pool


def _missing(service: ServiceDescriptor, name: str) -> InvalidArgument:
    has = _listed(service.methods_by_name)
    message = f"names {_short(name)}, which is not there; the service has {has}"
    return invalid(Violation(METHOD, message, f"use one of {_listed(_unary(service))}"))


def _unary(service: ServiceDescriptor) -> list[str]:
    return [
        each.name for each in service.methods if not each.client_streaming | each.server_streaming
    ]


def _listed(names: Iterable[str]) -> str:
    shown = [_short(name) for name in names]
    return ", ".join(shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "") or "none"


def _short(text: str) -> str:
    return line(text, _NAME)
