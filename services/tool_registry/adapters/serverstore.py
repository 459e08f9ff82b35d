"""Registrations of MCP servers on an event store: a stream for each namespace."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from google.protobuf import json_format
from runplane.tool_registry.v1 import servers_pb2 as pb

from services.chassis.errors import Aborted, AlreadyExists
from services.chassis.eventlog.port import Append, Compare, EventStore, NewEvent, Query, Record
from services.tool_registry.domain.server import Server, missing
from services.tool_registry.mapping import servers as mapping

# A stored name is for ever. The body of each is the registration as JSON.
REGISTERED: Final = "mcp_server.registered.v1"
DELETED: Final = "mcp_server.deleted.v1"
RECORD: Final = "mcp-server"
_IS_THERE: Final = Compare("is_deleted", "=", False)


class EventStoreServers:
    """See `ServerStore`."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, tenant: str, namespace: str) -> Server | None:
        """See `ServerStore`."""
        found = await self._store.record(tenant, RECORD, namespace)
        return None if found is None or found.attributes["is_deleted"] else decode(found.body)

    async def page(self, tenant: str, *, after: str, limit: int) -> Sequence[Server]:
        """See `ServerStore`."""
        query = Query(tenant, RECORD, _IS_THERE, after, limit, is_descending=False)
        return [decode(record.body) for record in await self._store.records(query)]

    async def add(self, tenant: str, server: Server) -> None:
        """See `ServerStore`."""
        found = await self._store.record(tenant, RECORD, server.namespace)
        if found is not None and not found.attributes["is_deleted"]:
            raise _taken(server.namespace)
        assert server.create_time is not None, "a server is kept with its time"  # noqa: S101
        event = NewEvent(REGISTERED, server.create_time, encode(server))
        try:
            await self._append(tenant, found, event, server)
        except Aborted:
            raise _taken(server.namespace) from None

    async def remove(self, tenant: str, namespace: str, time: datetime) -> None:
        """See `ServerStore`."""
        found = await self._store.record(tenant, RECORD, namespace)
        if found is None or found.attributes["is_deleted"]:
            raise missing(namespace)
        server = decode(found.body)
        try:
            event = NewEvent(DELETED, time, found.body)
            await self._append(tenant, found, event, server)
        except Aborted:
            raise missing(namespace) from None

    async def _append(
        self, tenant: str, before: Record | None, event: NewEvent, server: Server
    ) -> None:
        last = 0 if before is None else int(before.attributes["sequence"])
        attributes = {"is_deleted": event.type == DELETED, "sequence": last + 1}
        record = Record(RECORD, server.namespace, attributes, event.body)
        stream = f"mcp-server/{server.namespace}"
        await self._store.append(Append(tenant, stream, last, [event], records=[record]))


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
