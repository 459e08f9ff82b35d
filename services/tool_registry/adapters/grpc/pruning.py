"""File descriptors cut to what one method needs, as each version of a tool keeps them; pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from services.tool_registry.adapters.grpc.methods import WELL_KNOWN, Method

_ANY: Final = "google.protobuf.Any"
_REPLACED: Final = (
    "dependency",
    "enum_type",
    "extension",
    "message_type",
    "public_dependency",
    "service",
    "weak_dependency",
)

_Type: TypeAlias = Descriptor | EnumDescriptor


def pruned(files: Sequence[FileDescriptorProto], method: Method) -> list[FileDescriptorProto]:
    """Files in the same order, with the method and the messages that can come in a call of it.

    Any message can come in an `Any`, so then all are kept.
    """
    kept, imports = _reached(method)
    if _ANY in kept:
        return list(files)
    imports[method.file] |= {method.request.file.name, method.response.file.name}
    needed = _with_imports(files, imports.keys() | set().union(*imports.values()))
    return [_cut(file, kept, imports, method) for file in files if file.name in needed]


def _reached(method: Method) -> tuple[set[str], defaultdict[str, set[str]]]:
    """Full names of the outermost types, and which files each file needs for them."""
    kept: set[str] = set()
    imports: defaultdict[str, set[str]] = defaultdict(set)
    waiting: list[_Type] = [method.request, method.response]
    while waiting:
        outermost = _outermost(waiting.pop())
        if outermost.full_name in kept:
            continue
        kept.add(outermost.full_name)
        for inner in _used(outermost):
            imports[outermost.file.name].add(inner.file.name)
            waiting.append(inner)
    return kept, imports


def _outermost(of: _Type) -> _Type:
    while of.containing_type is not None:
        of = of.containing_type
    return of


def _used(of: _Type) -> Iterator[_Type]:
    """The types of all fields of a message and of those declared in it."""
    messages = [of] if isinstance(of, Descriptor) else []
    while messages:
        message = messages.pop()
        messages += message.nested_types
        for field in message.fields:
            if (its := field.message_type or field.enum_type) is not None:
                yield its


def _with_imports(files: Iterable[FileDescriptorProto], names: set[str]) -> set[str]:
    """The same and, as those of google.protobuf are kept whole, what these import."""
    for file in reversed(list(files)):
        if file.name in names and file.name in WELL_KNOWN:
            names |= set(file.dependency)
    return names


def _cut(
    file: FileDescriptorProto,
    kept: set[str],
    imports: defaultdict[str, set[str]],
    method: Method,
) -> FileDescriptorProto:
    if file.name in WELL_KNOWN:
        return file
    cut = FileDescriptorProto()
    cut.CopyFrom(file)
    for name in _REPLACED:
        cut.ClearField(name)
    prefix = f"{file.package}." if file.package else ""
    cut.message_type.extend(each for each in file.message_type if prefix + each.name in kept)
    cut.enum_type.extend(each for each in file.enum_type if prefix + each.name in kept)
    cut.dependency.extend(sorted(imports[file.name] - {file.name}))
    if file.name == method.file:
        _add_method(cut, method)
    return cut


def _add_method(file: FileDescriptorProto, method: Method) -> None:
    service, name = method.path.removeprefix("/").split("/")
    its = file.service.add(name=service.rpartition(".")[2]).method.add(name=name)
    its.input_type = f".{method.request.full_name}"
    its.output_type = f".{method.response.full_name}"
