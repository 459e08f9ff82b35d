"""The contracts as data: services, messages and enums with their comments and HTTP rules.

Read from descriptors that protoc makes with source positions, for what is made of them for people.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

# Numbers of fields: of FileDescriptorProto, of DescriptorProto, and of those of services and enums.
_PACKAGE, _MESSAGES, _ENUMS, _SERVICES = 2, 4, 5, 6
_FIELDS, _NESTED, _NESTED_ENUMS = 2, 3, 4
_METHODS, _VALUES = 2, 2


@dataclass(frozen=True)
class Rule:
    """How HTTP reaches an RPC; `body` is empty, `*` or a field's name."""

    verb: str
    template: str
    body: str


@dataclass(frozen=True)
class Rpc:
    """One RPC."""

    name: str
    comment: str
    input: str
    output: str
    streams_in: bool
    streams_out: bool
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Service:
    """One service, of the file `file`."""

    name: str
    full_name: str
    file: str
    comment: str
    rpcs: tuple[Rpc, ...]


@dataclass(frozen=True)
class Field:
    """A field of a message."""

    name: str
    comment: str
    proto: FieldDescriptorProto
    oneof: str


@dataclass(frozen=True)
class Message:
    """A message, by its full name."""

    name: str
    file: str
    comment: str
    fields: tuple[Field, ...]
    value_of_map: Field | None = None
    """Of what stands for a map: its values."""


@dataclass(frozen=True)
class Enum:
    """An enum: its values with their comments."""

    name: str
    file: str
    comment: str
    values: tuple[tuple[str, str], ...]


@dataclass
class Contracts:
    """All of them, by full name."""

    services: list[Service] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    enums: dict[str, Enum] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    """Of files: what stands above their `package`."""


def read(raw: bytes) -> Contracts:
    """What a FileDescriptorSet with source positions says."""
    found = Contracts()
    for file in FileDescriptorSet.FromString(raw).file:
        _File(found, file).read()
    return found


class _File:
    def __init__(self, found: Contracts, file: FileDescriptorProto) -> None:
        self._found = found
        self._file = file
        self._comments = {
            tuple(each.path): _text(each.leading_comments)
            for each in file.source_code_info.location
            if each.leading_comments
        }

    def read(self) -> None:
        package = self._file.package
        self._found.comments[self._file.name] = self._comment(_PACKAGE)
        for index, message in enumerate(self._file.message_type):
            self._message(message, package, (_MESSAGES, index))
        for index, enum in enumerate(self._file.enum_type):
            self._enum(enum, package, (_ENUMS, index))
        for index, service in enumerate(self._file.service):
            at = (_SERVICES, index)
            rpcs = tuple(
                self._rpc(rpc, self._comment(*at, _METHODS, number))
                for number, rpc in enumerate(service.method)
            )
            full = f"{package}.{service.name}"
            name, comment = service.name, self._comment(*at)
            self._found.services.append(Service(name, full, self._file.name, comment, rpcs))

    def _comment(self, *path: int) -> str:
        return self._comments.get(path, "")

    def _message(self, message: DescriptorProto, scope: str, at: tuple[int, ...]) -> None:
        name = f"{scope}.{message.name}"
        fields = tuple(
            Field(each.name, self._comment(*at, _FIELDS, number), each, _oneof(message, each))
            for number, each in enumerate(message.field)
        )
        value = fields[1] if message.options.map_entry else None
        self._found.messages[name] = Message(
            name, self._file.name, self._comment(*at), fields, value
        )
        for number, nested in enumerate(message.nested_type):
            self._message(nested, name, (*at, _NESTED, number))
        for number, enum in enumerate(message.enum_type):
            self._enum(enum, name, (*at, _NESTED_ENUMS, number))

    def _enum(self, enum: EnumDescriptorProto, scope: str, at: tuple[int, ...]) -> None:
        name = f"{scope}.{enum.name}"
        values = tuple(
            (each.name, self._comment(*at, _VALUES, number))
            for number, each in enumerate(enum.value)
        )
        self._found.enums[name] = Enum(name, self._file.name, self._comment(*at), values)

    def _rpc(self, rpc: MethodDescriptorProto, comment: str) -> Rpc:
        return Rpc(
            rpc.name,
            comment,
            rpc.input_type.removeprefix("."),
            rpc.output_type.removeprefix("."),
            rpc.client_streaming,
            rpc.server_streaming,
            tuple(_rules(rpc)),
        )


def _rules(rpc: MethodDescriptorProto) -> Iterator[Rule]:
    if not rpc.options.HasExtension(annotations_pb2.http):
        return
    main: Any = rpc.options.Extensions[annotations_pb2.http]
    for each in (main, *main.additional_bindings):
        verb = each.WhichOneof("pattern")
        yield Rule(verb.upper(), getattr(each, verb), each.body)


def _oneof(message: DescriptorProto, each: FieldDescriptorProto) -> str:
    """The choice that a field is of; a field that is merely optional is of none."""
    if not each.HasField("oneof_index") or each.proto3_optional:
        return ""
    return message.oneof_decl[each.oneof_index].name


def _text(comment: str) -> str:
    return "\n".join(line.removeprefix(" ") for line in comment.strip("\n").split("\n")).strip()
