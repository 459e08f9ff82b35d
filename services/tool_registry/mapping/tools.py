"""Tools as protobuf, and back; pure."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.struct_pb2 import Struct
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.chassis.errors import InvalidArgument, Violation, invalid
from services.chassis.eventlog.port import Attribute, Record
from services.chassis.filtering import Fields, written
from services.chassis.schema import Schema
from services.tool_registry.domain.changes import MASKED, MAX_MASK
from services.tool_registry.domain.checks import MAX_EXAMPLES
from services.tool_registry.domain.names import MAX_TAGS
from services.tool_registry.domain.tool import TIMEOUT, Default, Definition, Entry, Example
from services.tool_registry.domain.version import FIRST
from services.tool_registry.mapping.targets import set_target, target

RECORD: Final = "tool"
FILTERED: Final = Fields(
    {"name", "kind", "state", "owner", "server"},
    ("tags.",),
    {
        "kind": written("TOOL_KIND_", ("builtin", "http", "grpc", "mcp", "client")),
        "state": written("TOOL_STATE_", ("active", "deprecated")),
    },
)
_MILLISECOND: Final = timedelta(milliseconds=1)
_STATES: Final = {False: pb.TOOL_STATE_ACTIVE, True: pb.TOOL_STATE_DEPRECATED}


def tool(entry: Entry) -> pb.Tool:
    """A tool as callers see it."""
    definition = entry.definition
    packed = pb.Tool(
        name=definition.name,
        version=definition.version,
        description=definition.description,
        examples=map(_packed_example, definition.examples),
        timeout_ms=definition.timeout / _MILLISECOND,
        is_idempotent=definition.is_idempotent,
        requires_approval=definition.requires_approval,
        title=definition.title,
        tags=definition.tags,
        is_long_running=definition.is_long_running,
        reports_progress=definition.reports_progress,
        max_concurrency=definition.max_concurrency,
        owner=entry.owner,
        source=entry.source,
    )
    structs.from_dict(definition.input_schema.document, packed.input_schema)
    structs.from_dict(definition.output_schema.document, packed.output_schema)
    if definition.default is not None:
        structs.from_value(definition.default.value, packed.default)
    set_target(entry.target, packed)
    set_state(packed, entry.deprecation if entry.is_deprecated else None)
    if entry.create_time is not None:
        structs.set_time(packed.create_time, entry.create_time)
    return packed


def set_state(packed: pb.Tool, deprecation: str | None) -> None:
    """Say whether a tool is meant to be used; None: it is."""
    packed.state = _STATES[deprecation is not None]
    packed.deprecation = deprecation or ""


def entry(message: pb.Tool) -> Entry:
    """A tool as it was sent or kept.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, `SCHEMA_INVALID`, with fields such as
            `tool.input_schema`.
    """
    definition = Definition(
        name=message.name,
        version=message.version or FIRST,
        description=message.description,
        input_schema=_schema(message.input_schema, "input"),
        output_schema=_schema(message.output_schema, "output"),
        examples=tuple(
            _example(each, f"tool.examples[{index}]")
            for index, each in enumerate(message.examples[: MAX_EXAMPLES + 1])
        ),
        timeout=_timeout(message.timeout_ms),
        is_idempotent=message.is_idempotent,
        title=message.title,
        tags=tuple(message.tags[: MAX_TAGS + 1]),
        requires_approval=message.requires_approval,
        is_long_running=message.is_long_running,
        reports_progress=message.reports_progress,
        max_concurrency=message.max_concurrency,
        default=_default(message),
    )
    return Entry(
        definition,
        target(message),
        message.owner,
        _time(message),
        message.state == pb.TOOL_STATE_DEPRECATED,
        message.deprecation,
        message.source,
    )


def record(packed: pb.Tool) -> Record:
    """What lists show of a tool, and what they can be filtered by."""
    attributes: dict[str, Attribute] = {
        "is_deleted": False,
        "name": packed.name,
        "kind": pb.ToolKind.Name(packed.kind).removeprefix("TOOL_KIND_").lower(),
        "state": pb.ToolState.Name(packed.state).removeprefix("TOOL_STATE_").lower(),
        "owner": packed.owner,
        "server": packed.mcp.server if packed.HasField("mcp") else "",
        **{f"tags.{tag}": True for tag in packed.tags},
    }
    if packed.HasField("grpc") and packed.grpc.descriptor_set:  # As long as all the rest.
        packed = pb.Tool.FromString(packed.SerializeToString())
        packed.grpc.ClearField("descriptor_set")
    return Record(RECORD, packed.name, attributes, packed.SerializeToString())


def wished(message: pb.Tool) -> Entry:
    """A tool as somebody wants to register it: what is output only is left out."""
    found = entry(message)
    definition = replace(found.definition, reports_progress=False)
    return Entry(definition, found.target)


def mask(request: pb.UpdateToolRequest) -> Sequence[str]:
    """Which fields an update replaces."""
    if request.update_mask:
        return [name for name in request.update_mask[: MAX_MASK + 1] if name != "version"]
    return [field.name for field, _ in request.tool.ListFields() if field.name in MASKED]


def _schema(message: Struct, field: str) -> Schema:
    where = f"tool.{field}_schema"
    document = structs.to_dict(message, field=where)
    try:
        return Schema(document, field=field)
    except InvalidArgument as error:
        faults = [replace(each, field=where) for each in error.violations]
        raise invalid(*faults, reason=error.reason) from None


def _timeout(milliseconds: float) -> timedelta:
    if not milliseconds:
        return TIMEOUT
    if math.isnan(milliseconds) or not 0 < milliseconds < 1e9:
        fix = "send 1 to 3600000, or leave it out for 30000"
        raise invalid(Violation("tool.timeout_ms", "is not a time to wait", fix))
    return timedelta(milliseconds=milliseconds)


def _default(message: pb.Tool) -> Default | None:
    if not message.HasField("default"):
        return None
    return Default(structs.to_value(message.default, field="tool.default"))


def _time(message: pb.Tool) -> datetime | None:
    return message.create_time.ToDatetime(UTC) if message.HasField("create_time") else None


def _example(message: pb.ToolExample, field: str) -> Example:
    has_output = message.HasField("output")
    return Example(
        message.query,
        structs.to_dict(message.input, field=f"{field}.input"),
        structs.to_value(message.output, field=f"{field}.output") if has_output else None,
    )


def _packed_example(example: Example) -> pb.ToolExample:
    packed = pb.ToolExample(query=example.query)
    structs.from_dict(example.input, packed.input)
    structs.from_value(example.output, packed.output)
    return packed
