"""Changes what a store holds behind its back, as a bad disk does, or a person with a client."""

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Attribute, Record, Snapshot
from services.chassis.eventlog.times import from_micros, micros

Name = tuple[str, str]
"""Tenant and stream."""

_EVENT = {
    "type": "update events set type = ? where tenant = ? and stream_id = ? and sequence = ?",
    "time": "update events set time = ? where tenant = ? and stream_id = ? and sequence = ?",
    "body": "update events set body = ? where tenant = ? and stream_id = ? and sequence = ?",
}
_RECORD = {
    "body": "update records set body = ? where tenant = ? and id = ? and kind = ?",
    "attributes": "update records set attributes = ? where tenant = ? and id = ? and kind = ?",
}


class Tampering(Protocol):
    """A store's back door."""

    async def event(self, name: Name, sequence: int, **changes: object) -> None:
        """Change `type`, `time` or `body` of an event."""

    async def lose_event(self, name: Name, sequence: int) -> None:
        """Take an event away."""

    async def record(
        self, name: Name, kind: str, body: bytes, attributes: Mapping[str, Attribute] | None = None
    ) -> None:
        """Change a record."""

    async def lose_record(self, name: Name, kind: str) -> None:
        """Take a record away."""

    async def snapshot(self, name: Name, sequence: int, body: bytes) -> None:
        """Put another snapshot there."""


class OfMemory:
    """See `Tampering`."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    async def event(self, name: Name, sequence: int, **changes: Any) -> None:
        events = self._store._streams[name].events
        at = next(n for n, each in enumerate(events) if each.sequence == sequence)
        events[at] = replace(events[at], **changes)

    async def lose_event(self, name: Name, sequence: int) -> None:
        events = self._store._streams[name].events
        events[:] = [each for each in events if each.sequence != sequence]

    async def record(
        self, name: Name, kind: str, body: bytes, attributes: Mapping[str, Attribute] | None = None
    ) -> None:
        tenant, record_id = name
        there = self._store._records[tenant, kind, record_id]
        changed = Record(kind, record_id, there.attributes, body)
        if attributes is not None:
            changed = replace(changed, attributes=attributes)
        self._store._records[tenant, kind, record_id] = changed

    async def lose_record(self, name: Name, kind: str) -> None:
        del self._store._records[name[0], kind, name[1]]

    async def snapshot(self, name: Name, sequence: int, body: bytes) -> None:
        self._store._streams[name].snapshot = Snapshot(sequence, body)


class OfTables(ABC):
    """See `Tampering`; on SQLite and PostgreSQL."""

    @abstractmethod
    async def execute(self, sql: str, *values: object) -> None:
        """Do this, with `?` for each value."""

    async def event(self, name: Name, sequence: int, **changes: object) -> None:
        for column, value in changes.items():
            new = micros(value) if isinstance(value, datetime) else value
            await self.execute(_EVENT[column], new, *name, sequence)

    async def lose_event(self, name: Name, sequence: int) -> None:
        sql = "delete from events where tenant = ? and stream_id = ? and sequence = ?"
        await self.execute(sql, *name, sequence)

    async def record(
        self, name: Name, kind: str, body: bytes, attributes: Mapping[str, Attribute] | None = None
    ) -> None:
        await self.execute(_RECORD["body"], body, *name, kind)
        if attributes is not None:
            await self.execute(_RECORD["attributes"], json.dumps(dict(attributes)), *name, kind)

    async def lose_record(self, name: Name, kind: str) -> None:
        sql = "delete from records where tenant = ? and id = ? and kind = ?"
        await self.execute(sql, *name, kind)

    async def snapshot(self, name: Name, sequence: int, body: bytes) -> None:
        await self.execute("delete from snapshots where tenant = ? and stream_id = ?", *name)
        await self.execute("insert into snapshots values (?, ?, ?, ?)", *name, sequence, body)


class OfSqlite(OfTables):
    """Through a connection of its own."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def execute(self, sql: str, *values: Any) -> None:
        with closing(sqlite3.connect(self._path)) as db, db:
            db.execute(sql, values)

    async def body(self, name: Name, sequence: int) -> bytes:
        """An event as it is stored."""
        sql = "select body from events where tenant = ? and stream_id = ? and sequence = ?"
        with closing(sqlite3.connect(self._path)) as db:
            found: bytes = db.execute(sql, (*name, sequence)).fetchone()[0]
            return found

    async def due(self, name: Name) -> datetime:
        """When a stream wants a worker."""
        sql = "select due from work where tenant = ? and stream_id = ?"
        with closing(sqlite3.connect(self._path)) as db:
            return from_micros(db.execute(sql, name).fetchone()[0])


class OfPostgres(OfTables):
    """The same, in the service's schema."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema

    async def execute(self, sql: str, *values: object) -> None:
        for number in range(1, len(values) + 1):
            sql = sql.replace("?", f"${number}", 1)
        db = await asyncpg.connect(self._url, server_settings={"search_path": self._schema})
        try:
            await db.execute(sql, *values)
        finally:
            await db.close()
