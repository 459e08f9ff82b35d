"""Registrations of MCP servers on an event store: a stream for each namespace."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from google.protobuf import json_format
from runplane.tool_registry.v1 import servers_pb2 as pb

from services.chassis.errors import Aborted, AlreadyExists
from services.chassis.eventlog.port import (
    Append,
    Compare,
    EventStore,
    Kept,
    Key,
    NewEvent,
    Query,
    Record,
)
from services.tool_registry.domain.server import Server, missing
from services.tool_registry.domain.server_changes import conflict
from services.tool_registry.mapping import servers as mapping

# A stored name is for ever. The body of each is the registration as JSON.
REGISTERED: Final = "mcp_server.registered.v1"
CHANGED: Final = "mcp_server.changed.v1"
DELETED: Final = "mcp_server.deleted.v1"
RECORD: Final = "mcp-server"
_IS_THERE: Final = Compare("is_deleted", "=", False)


class EventStoreServers:
    """See `ServerStore`."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, tenant: str, namespace: str) -> Server | None:
        """See `ServerStore`."""
        found = await self._registered(tenant, namespace)
        return None if found is None else decode(found.body)

    async def page(self, tenant: str, *, after: str, limit: int) -> Sequence[Server]:
        """See `ServerStore`."""
        query = Query(tenant, RECORD, _IS_THERE, after, limit, is_descending=False)
        return [decode(record.body) for record in await self._store.records(query)]

    async def add(self, tenant: str, server: Server, *, key: Key | None = None) -> None:
        """See `ServerStore`."""
        found = await self._store.record(tenant, RECORD, server.namespace)
        if found is not None and not found.attributes["is_deleted"]:
            raise _taken(server.namespace)
        assert server.create_time is not None, "a server is kept with its time"  # noqa: S101
        event = NewEvent(REGISTERED, server.create_time, encode(server))
        try:
            await self._append(tenant, found, event, server.namespace, key)
        except Aborted:
            raise _taken(server.namespace) from None

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `ServerStore`."""
        if (kept := await self._store.kept(tenant, key.scope, key.key)) is None:
            return None
        return replace(kept, stream_id=kept.stream_id.removeprefix(_stream("")))

    async def change(self, tenant: str, old: Server, new: Server, time: datetime) -> None:
        """See `ServerStore`."""
        found = await self._registered(tenant, old.namespace)
        if found is None or decode(found.body) != old:
            raise conflict(old.namespace)
        try:
            await self._append(tenant, found, NewEvent(CHANGED, time, encode(new)), old.namespace)
        except Aborted:
            raise conflict(old.namespace) from None

    async def remove(self, tenant: str, namespace: str, time: datetime) -> None:
        """See `ServerStore`."""
        while found := await self._registered(tenant, namespace):
            try:
                await self._append(tenant, found, NewEvent(DELETED, time, found.body), namespace)
            except Aborted:
                continue  # Somebody changed it, or deleted it, meanwhile.
            return
        raise missing(namespace)

    async def _registered(self, tenant: str, namespace: str) -> Record | None:
        found = await self._store.record(tenant, RECORD, namespace)
        return None if found is None or found.attributes["is_deleted"] else found

    async def _append(
        self,
        tenant: str,
        before: Record | None,
        event: NewEvent,
        namespace: str,
        key: Key | None = None,
    ) -> None:
        last = 0 if before is None else int(before.attributes["sequence"])
        attributes = {"is_deleted": event.type == DELETED, "sequence": last + 1}
        record = Record(RECORD, namespace, attributes, event.body)
        stream = _stream(namespace)
        await self._store.append(Append(tenant, stream, last, [event], records=[record], key=key))


def _stream(namespace: str) -> str:
    return f"{RECORD}/{namespace}"


def encode(server: Server) -> bytes:
    """A registration as it is stored."""
    said = json_format.MessageToDict(mapping.registration(server), preserving_proto_field_name=True)
    return json.dumps({"server": said, "owner": server.owner}).encode()


def decode(body: bytes) -> Server:
    """A registration as it was stored, by an event of any name."""
    kept = json.loads(body)
    message = json_format.ParseDict(kept["server"], pb.McpServer(), ignore_unknown_fields=True)
    time = message.create_time.ToDatetime(UTC)
    return replace(mapping.server(message), owner=kept["owner"], create_time=time)


def _taken(namespace: str) -> AlreadyExists:
    return AlreadyExists(
        "MCP_SERVER_ALREADY_EXISTS",
        f"there is an MCP server {namespace} already",
        namespace=namespace,
        field="server.namespace",
        suggested_fix="choose another namespace, or delete the one that is there",
    )
