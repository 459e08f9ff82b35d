"""Registered tools on an event store: a stream for each name, whose snapshot is the tool's line.

Beside the stream are records, each for one read: the tool as lists show it, each of its versions,
and its name alone, for what counts tools.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis.eventlog.port import (
    Append,
    Attribute,
    Compare,
    Condition,
    EventStore,
    Every,
    Kept,
    Key,
    Not,
    Query,
    Record,
)
from services.chassis.paging import PAGE_BYTES
from services.chassis.versions import Wanted
from services.tool_registry.adapters.toolcodec import decode_line, encode, encode_line
from services.tool_registry.domain.line import Event, Line, Registered, Release, Updated
from services.tool_registry.domain.tool import Entry
from services.tool_registry.mapping import tools as mapping

NAME: Final = "tool_name"
_IS_THERE: Final = Compare("is_deleted", "=", False)
_ANY: Final = Wanted()


class EventStoreTools:
    """See `ToolStore`. What a version says is stored once and never changed; whether it is
    deprecated is said by its line."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def line(self, tenant: str, name: str) -> Line:
        """See `ToolStore`."""
        return decode_line(name, await self._store.snapshot(tenant, _stream(name)))

    async def entry(self, tenant: str, name: str, release: Release) -> Entry:
        """See `ToolStore`."""
        entry = mapping.entry(await self._version(tenant, name, release))
        is_deprecated = release.is_deprecated
        return replace(entry, is_deprecated=is_deprecated, deprecation=release.deprecation or "")

    async def append(
        self, tenant: str, line: Line, event: Event, *, key: Key | None = None
    ) -> Line:
        """See `ToolStore`."""
        after = line.evolved(event)
        await self._store.append(
            Append(
                tenant,
                _stream(line.name),
                line.sequence,
                [encode(line.name, event)],
                snapshot=encode_line(after),
                records=[*_beside(line, after, event), await self._listed(tenant, after, event)],
                key=key,
            )
        )
        return after

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `ToolStore`."""
        if (kept := await self._store.kept(tenant, key.scope, key.key)) is None:
            return None
        return replace(kept, stream_id=kept.stream_id.removeprefix(_stream("")))

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `ToolStore`."""
        there = _IS_THERE if where is None else Every((_IS_THERE, where))
        query = Query(tenant, mapping.RECORD, there, after, limit, False, PAGE_BYTES)
        return [(record.id, record.body) for record in await self._store.records(query)]

    async def versions(
        self, tenant: str, line: Line, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `ToolStore`."""
        if not line.releases:
            return ()
        since = Compare("sequence", ">=", float(line.releases[0].sequence))
        last = after or _id(line.releases[-1].sequence + 1)  # None that was added meanwhile.
        query = Query(tenant, _versions(line.name), since, last, limit, max_bytes=PAGE_BYTES)
        marks = {_id(each.sequence): each for each in line.releases}
        return [
            (record.id, _marked(pb.Tool.FromString(record.body), marks[record.id]))
            for record in await self._store.records(query)
        ]

    async def names(self, tenant: str, *, limit: int, source: str | None = None) -> Sequence[str]:
        """See `ToolStore`."""
        where: Condition = _IS_THERE
        if source is not None:
            where = Every((_IS_THERE, Compare("source", "=", source)))
        query = Query(tenant, NAME, where, "", limit, is_descending=False)
        return [record.id for record in await self._store.records(query)]

    async def sources(self, tenant: str, *, besides: Collection[str], limit: int) -> Sequence[str]:
        """See `ToolStore`."""
        others = (Not(Compare("source", "=", each)) for each in ("", *besides))
        query = Query(tenant, NAME, Every((_IS_THERE, *others)), "", limit, is_descending=False)
        found = await self._store.records(query)
        return sorted({str(record.attributes["source"]) for record in found})

    async def _listed(self, tenant: str, line: Line, event: Event) -> Record:
        """The record of the version that who asks for none gets."""
        picked = line.picked(_ANY)
        if picked is None:
            return Record(mapping.RECORD, line.name, {"is_deleted": True}, b"")
        if picked.sequence == line.sequence and isinstance(event, Registered | Updated):
            return mapping.record(mapping.tool(event.entry))
        packed = await self._version(tenant, line.name, picked)
        mapping.set_state(packed, picked.deprecation)
        return mapping.record(packed)

    async def _version(self, tenant: str, name: str, release: Release) -> pb.Tool:
        found = await self._store.record(tenant, _versions(name), _id(release.sequence))
        if found is None:
            raise Line(name).missing_version(release.version)
        return pb.Tool.FromString(found.body)


def _beside(before: Line, after: Line, event: Event) -> list[Record]:
    """What else is known by this event: a version, or that the name is used or is not."""
    records = []
    if isinstance(event, Registered | Updated):
        body = mapping.tool(event.entry).SerializeToString()
        release = after.releases[-1]
        attributes = {"sequence": float(release.sequence)}
        records.append(Record(_versions(after.name), _id(release.sequence), attributes, body))
    if bool(before.releases) != bool(after.releases):
        is_there: dict[str, Attribute] = {"is_deleted": not after.releases, "source": after.source}
        records.append(Record(NAME, after.name, is_there, b""))
    return records


def _marked(packed: pb.Tool, release: Release) -> bytes:
    mapping.set_state(packed, release.deprecation)
    return packed.SerializeToString()


def _stream(name: str) -> str:
    return f"tool/{name}"


def _versions(name: str) -> str:
    """The kind of a tool's versions, so that they are found at once; no tool's name has a slash."""
    return f"tool/{name}"


def _id(sequence: int) -> str:
    """Orders versions as they came, which is the order of the versions themselves."""
    return f"{sequence:012d}"
