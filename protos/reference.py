"""The API reference: a Markdown page for each file of the contracts."""

import re
from collections.abc import Iterator
from typing import Final

from contracts import Contracts, Enum, Field, Message, Rpc, Service
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Proto

_OURS: Final = "runplane/"
_KINDS: Final = {number: name.removeprefix("TYPE_").lower() for name, number in Proto.Type.items()}
_BODIES: Final = {"*": "the request"}
_MADE: Final = "<!-- Made from the contracts by `make protos`. Do not edit. -->\n"


def pages(contracts: Contracts) -> dict[str, str]:
    """Pages by their names, with one that leads to them."""
    ours = [file for file in contracts.comments if file.startswith(_OURS)]
    made = {_page(file): _written(contracts, file) for file in ours}
    return made | {"README.md": _index(contracts, ours)}


def _index(contracts: Contracts, files: list[str]) -> str:
    lines = ["# API reference", "", _MADE]
    lines += [
        "The same over HTTP is at the edge's `/docs`, and in `gateway/openapi/openapi.json`.",
        "",
    ]
    lines += ["| page | what it is of |", "|---|---|"]
    for file in sorted(files):
        names = [each.name for each in contracts.services if each.file == file]
        said = _cell(_first(contracts.comments[file]))
        services = f" ({', '.join(f'`{each}`' for each in names)})" if names else ""
        lines.append(f"| [{_title(file)}]({_page(file)}) | {said}{services} |")
    return "\n".join(lines) + "\n"


def _written(contracts: Contracts, file: str) -> str:
    lines = [f"# {_title(file)}", "", _MADE, contracts.comments[file], ""]
    lines.append(f"From [{file}](../../protos/{file}).")
    for service in (each for each in contracts.services if each.file == file):
        lines += _service(service)
    messages = [each for each in contracts.messages.values() if each.file == file]
    if shown := [each for each in messages if each.value_of_map is None]:
        lines += ["", "## Messages"]
    for message in shown:
        lines += _message(contracts, message)
    if enums := [each for each in contracts.enums.values() if each.file == file]:
        lines += ["", "## Enums"]
    for enum in enums:
        lines += _enum(enum)
    return "\n".join(lines) + "\n"


def _service(service: Service) -> Iterator[str]:
    yield from ("", f"## {service.name}", "", f"`{service.full_name}`", "", service.comment)
    for rpc in service.rpcs:
        yield from _rpc(rpc)


def _rpc(rpc: Rpc) -> Iterator[str]:
    asked = f"{'stream ' if rpc.streams_in else ''}{_short(rpc.input)}"
    answered = f"{'stream ' if rpc.streams_out else ''}{_short(rpc.output)}"
    yield from ("", f"### {rpc.name}", "", f"`{asked}` → `{answered}`", "", rpc.comment)
    if rpc.rules:
        yield ""
    for rule in rpc.rules:
        said = _BODIES.get(rule.body, f"`{rule.body}`")
        body = f", the body is {said}" if rule.body else ""
        yield f"- `{rule.verb} {rule.template}`{body}"


def _message(contracts: Contracts, message: Message) -> Iterator[str]:
    yield from ("", f"### {_within(message.name)}", "", message.comment)
    if message.fields:
        yield from ("", "| field | number | type | |", "|---|---|---|---|")
    for field in message.fields:
        choice = f" One of `{field.oneof}`." if field.oneof else ""
        said = _cell(field.comment) + choice
        kind = _type(contracts, field)
        yield f"| `{field.name}` | {field.proto.number} | {kind} | {said} |"


def _enum(enum: Enum) -> Iterator[str]:
    yield from ("", f"### {_within(enum.name)}", "", enum.comment)
    yield from ("", "| value | |", "|---|---|")
    for name, comment in enum.values:
        yield f"| `{name}` | {_cell(comment)} |"


def _type(contracts: Contracts, field: Field) -> str:
    """A field's type, as a link where it is one of ours."""
    proto = field.proto
    if proto.type not in {Proto.TYPE_MESSAGE, Proto.TYPE_ENUM}:
        kind = f"`{_KINDS[proto.type]}`"
    else:
        name = proto.type_name.removeprefix(".")
        message = contracts.messages.get(name)
        if message is not None and message.value_of_map is not None:
            return f"map of {_type(contracts, message.value_of_map)}"
        kind = _linked(contracts, name)
    if proto.label == Proto.LABEL_REPEATED:
        return f"list of {kind}"
    return f"optional {kind}" if proto.proto3_optional else kind


def _linked(contracts: Contracts, name: str) -> str:
    known = contracts.messages.get(name) or contracts.enums.get(name)
    if known is None or not known.file.startswith(_OURS):
        return f"`{_short(name)}`"
    anchor = re.sub(r"[^a-z0-9_-]", "", _within(name).lower())
    return f"[`{_within(name)}`]({_page(known.file)}#{anchor})"


def _title(file: str) -> str:
    """`runplane/inference/v1/models.proto` as `inference.v1 models`."""
    _, service, version, name = file.removesuffix(".proto").split("/")
    return f"{service}.{version} {name}"


def _page(file: str) -> str:
    return f"{_title(file).replace('.', '_').replace(' ', '_')}.md"


def _within(name: str) -> str:
    """A message's name within its package."""
    return re.sub(r"^(?:[a-z0-9_]+\.)*", "", name)


def _short(name: str) -> str:
    return name if name.startswith("google.") else _within(name)


def _first(comment: str) -> str:
    return comment.partition("\n\n")[0]


def _cell(comment: str) -> str:
    return comment.replace("\n\n", "<br>").replace("\n", " ").replace("|", "\\|")
