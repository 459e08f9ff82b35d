"""Entries of the catalogue on an event store: a stream for each, and a record of what it is."""

import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from services.chassis.errors import Aborted, Internal, InvalidArgument
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
from services.inference.domain import entry_document
from services.inference.domain.entry import Entry, Source, Wanted
from services.inference.domain.entry_refusals import conflict, missing, taken

log = logging.getLogger(__name__)

# A stored name is for ever. The body of each is what the entry is from then on, as JSON.
CREATED: Final = "model.created.v1"
CHANGED: Final = "model.changed.v1"
DELETED: Final = "model.deleted.v1"
WANTED: Final = "model.wanted.v1"
UNWANTED: Final = "model.unwanted.v1"
RECORD: Final = "model"
WISH: Final = "model-wish"
"""Of entries that are declared: what was said of loading them."""
OPERATOR: Final = "-"
"""The tenant of what is about everybody's."""
_IS_THERE: Final = Compare("is_deleted", "=", False)
_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class _Kept:
    entry: Entry
    is_wanted: bool
    sequence: int


class EventStoreModels:
    """See `ModelStore`."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, tenant: str, name: str) -> Entry | None:
        """See `ModelStore`."""
        kept, _ = await self._kept(tenant, name)
        return None if kept is None else kept.entry

    async def count(self, tenant: str, most: int) -> int:
        """See `ModelStore`."""
        return len(await self._store.records(Query(tenant, RECORD, _IS_THERE, limit=most)))

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `ModelStore`."""
        if (kept := await self._store.kept(tenant, key.scope, key.key)) is None:
            return None
        return replace(kept, stream_id=kept.stream_id.removeprefix(_stream("")))

    async def add(self, tenant: str, entry: Entry, key: Key | None) -> Entry:
        """See `ModelStore`."""
        kept, last = await self._kept(tenant, entry.name)
        if kept is not None:
            raise taken(entry.name)
        made = _Kept(replace(entry, revision=1), entry.is_free_to_load, last + 1)
        try:
            await self._append(tenant, CREATED, made, key)
        except Aborted:
            raise taken(entry.name) from None
        return made.entry

    async def change(self, tenant: str, entry: Entry) -> Entry:
        """See `ModelStore`."""
        kept = await self._newest(tenant, entry)
        changed = replace(entry, revision=entry.revision + 1)
        await self._next(tenant, CHANGED, replace(kept, entry=changed))
        return changed

    async def remove(self, tenant: str, entry: Entry, time: datetime) -> None:
        """See `ModelStore`."""
        kept = await self._newest(tenant, entry)
        gone = replace(kept.entry, update_time=time)
        await self._next(tenant, DELETED, replace(kept, entry=gone, is_wanted=False))

    async def want(self, tenant: str, name: str, time: datetime, *, is_wanted: bool) -> None:
        """See `ModelStore`."""
        while True:
            kept, _ = await self._kept(tenant, name)
            if kept is None:
                raise missing(name)
            said = replace(kept, is_wanted=is_wanted, sequence=kept.sequence + 1)
            with suppress(Aborted):  # Somebody said something else of it meanwhile.
                return await self._append(tenant, _event(is_wanted), said, None, time)

    async def wish(self, name: str, time: datetime, *, is_wanted: bool) -> None:
        """See `ModelStore`."""
        while True:
            with suppress(Aborted):  # As above.
                return await self._wish(name, NewEvent(_event(is_wanted), time, b""))

    async def every(self) -> Sequence[tuple[str, Wanted]]:
        """See `ModelStore`."""
        found = []
        async for tenant, record in self._all(RECORD):
            try:
                kept = _read(record)
            except Internal:
                log.exception("stored model cannot be read", extra={"model": record.id})
                continue
            if kept is not None:
                found.append((tenant, Wanted(kept.entry, kept.is_wanted, kept.sequence)))
        return found

    async def wishes(self) -> Sequence[tuple[str, bool, int]]:
        """See `ModelStore`."""
        return [
            (record.id, bool(record.attributes["is_wanted"]), int(record.attributes["sequence"]))
            async for _, record in self._all(WISH)
        ]

    async def _all(self, kind: str) -> AsyncIterator[tuple[str, Record]]:
        after = ("", "")
        while page := await self._store.every(kind, after=after, limit=_PAGE):
            for tenant, record in page:
                yield tenant, record
                after = (tenant, record.id)

    async def _wish(self, name: str, event: NewEvent) -> None:
        found = await self._store.record(OPERATOR, WISH, name)
        last = 0 if found is None else int(found.attributes["sequence"])
        attributes = {"is_wanted": event.type == WANTED, "sequence": last + 1}
        record = Record(WISH, name, attributes, b"")
        stream = f"{WISH}/{name}"
        await self._store.append(Append(OPERATOR, stream, last, [event], records=[record]))

    async def _kept(self, tenant: str, name: str) -> tuple[_Kept | None, int]:
        """An entry if it is there, and what its stream ends with."""
        found = await self._store.record(tenant, RECORD, name)
        last = 0 if found is None else int(found.attributes["sequence"])
        return (None if found is None else _read(found)), last

    async def _newest(self, tenant: str, entry: Entry) -> _Kept:
        kept, _ = await self._kept(tenant, entry.name)
        if kept is None:
            raise missing(entry.name)
        if kept.entry.revision != entry.revision:
            raise conflict(entry.name)
        return kept

    async def _next(self, tenant: str, event: str, kept: _Kept) -> None:
        try:
            await self._append(tenant, event, replace(kept, sequence=kept.sequence + 1), None)
        except Aborted:
            raise conflict(kept.entry.name) from None

    async def _append(
        self, tenant: str, event: str, kept: _Kept, key: Key | None, time: datetime | None = None
    ) -> None:
        at = time or kept.entry.update_time
        assert at is not None, "an entry is kept with its time"  # noqa: S101
        attributes = {"is_deleted": event == DELETED, "sequence": kept.sequence}
        body = encode(kept.entry, is_wanted=kept.is_wanted)
        record = Record(RECORD, kept.entry.name, attributes, body)
        await self._store.append(
            Append(
                tenant,
                _stream(kept.entry.name),
                kept.sequence - 1,
                [NewEvent(event, at, body)],
                records=[record],
                key=key,
            )
        )


def _event(is_wanted: bool) -> str:
    return WANTED if is_wanted else UNWANTED


def _stream(name: str) -> str:
    return f"{RECORD}/{name}"


def encode(entry: Entry, *, is_wanted: bool) -> bytes:
    """An entry as it is stored."""
    said: Mapping[str, Any] = {
        "entry": dict(entry.document),
        "owner": entry.owner,
        "revision": entry.revision,
        "create_time": _text(entry.create_time),
        "update_time": _text(entry.update_time),
        "is_wanted": is_wanted,
    }
    return json.dumps(said).encode()


def _read(record: Record) -> _Kept | None:
    """What a record says; None if the entry was deleted.

    Raises:
        Internal: `MODEL_CORRUPT`.
    """
    if record.attributes["is_deleted"]:
        return None
    try:
        entry, is_wanted = decode(record.body)
    except (InvalidArgument, KeyError, TypeError, ValueError) as error:
        message = f"what is stored of the model {record.id} cannot be read"
        raise Internal("MODEL_CORRUPT", message, model=record.id) from error
    return _Kept(entry, is_wanted, int(record.attributes["sequence"]))


def decode(body: bytes) -> tuple[Entry, bool]:
    """An entry as it was stored, by an event of any name, and whether it was to be loaded.

    Raises:
        InvalidArgument: `MODEL_INVALID`; it is none any more.
        KeyError, TypeError, ValueError: it never was one.
    """
    said = json.loads(body)
    entry = replace(
        entry_document.made(said["entry"], Source.API, field="model"),
        owner=said["owner"],
        revision=said["revision"],
        create_time=_time(said["create_time"]),
        update_time=_time(said["update_time"]),
    )
    return entry, said["is_wanted"]


def _text(time: datetime | None) -> str:
    return time.astimezone(UTC).isoformat() if time is not None else ""


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
