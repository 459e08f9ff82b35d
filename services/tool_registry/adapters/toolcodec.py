"""What happened to a tool, as it is stored."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis.eventlog.newer import check_known
from services.chassis.eventlog.port import NewEvent, Snapshot, StoredEvent
from services.tool_registry.domain.line import (
    Deleted,
    Deprecated,
    Event,
    Line,
    Registered,
    Release,
    Undeprecated,
    Updated,
)
from services.tool_registry.mapping import tools as mapping

# A stored name is for ever. The body of each is a tool: whole where there is a version to keep.
REGISTERED: Final = "tool.registered.v1"
UPDATED: Final = "tool.updated.v1"
DEPRECATED: Final = "tool.deprecated.v1"
UNDEPRECATED: Final = "tool.undeprecated.v1"
DELETED: Final = "tool.deleted.v1"


def encode(name: str, event: Event) -> NewEvent:
    """An event of the tool of this name."""
    if isinstance(event, Registered | Updated):
        created = event.entry.create_time
        assert created is not None, "a version is kept with its time"  # noqa: S101
        kind = REGISTERED if isinstance(event, Registered) else UPDATED
        return NewEvent(kind, created, mapping.tool(event.entry).SerializeToString())
    body = pb.Tool(name=name)
    if isinstance(event, Deprecated):
        body.version = event.version
        mapping.set_state(body, event.message)
        return NewEvent(DEPRECATED, event.time, body.SerializeToString())
    if isinstance(event, Undeprecated):
        body.version = event.version
        return NewEvent(UNDEPRECATED, event.time, body.SerializeToString())
    return NewEvent(DELETED, event.time, body.SerializeToString())


def decode(stored: StoredEvent) -> Event:
    """The event that was stored.

    Raises:
        Unavailable: `WRITTEN_BY_NEWER_VERSION`.
        KeyError: the name was never used.
    """
    check_known(_READ, stored.type)
    return _READ[stored.type](pb.Tool.FromString(stored.body), stored)


def encode_line(line: Line) -> bytes:
    """A line, beside its events. Many releases have the same word on them, which may be long."""
    notes = list(dict.fromkeys(each.deprecation for each in line.releases if each.is_deprecated))
    numbers = {note: number for number, note in enumerate(notes)} | {None: None}
    releases = [[each.version, each.sequence, numbers[each.deprecation]] for each in line.releases]
    last = [line.last.version, line.last.sequence] if line.last else None
    document = {"source": line.source, "notes": notes, "releases": releases, "last": last}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode_line(name: str, snapshot: Snapshot | None) -> Line:
    """A line as it was kept; without versions if there was none."""
    if snapshot is None:
        return Line(name)
    document = json.loads(snapshot.body)
    notes, last = document["notes"], document["last"]
    return Line(
        name=name,
        sequence=snapshot.sequence,
        source=document["source"],
        releases=tuple(
            Release(version, sequence, None if note is None else notes[note])
            for version, sequence, note in document["releases"]
        ),
        last=Release(*last) if last else None,
    )


_READ: Final[Mapping[str, Callable[[pb.Tool, StoredEvent], Event]]] = {
    REGISTERED: lambda body, stored: Registered(mapping.entry(body)),
    UPDATED: lambda body, stored: Updated(mapping.entry(body)),
    DEPRECATED: lambda body, stored: Deprecated(stored.time, body.version, body.deprecation),
    UNDEPRECATED: lambda body, stored: Undeprecated(stored.time, body.version),
    DELETED: lambda body, stored: Deleted(stored.time),
}
