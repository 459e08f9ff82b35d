"""Definitions on an event store: a stream for each name, whose events are its versions.

Beside the stream are records, each for one read: the newest version as lists show it, and each of
its versions.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from google.protobuf.message import DecodeError
from runplane.workflow.v1 import definitions_pb2 as pb

from services.chassis.errors import (
    Aborted,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.chassis.eventlog.port import (
    Append,
    Condition,
    EventStore,
    NewEvent,
    Query,
    Record,
)
from services.chassis.lately import Lately
from services.chassis.paging import PAGE_BYTES
from services.workflow.domain import language
from services.workflow.domain.definition import Definition
from services.workflow.mapping import definitions as mapping

RECORD: Final = "definition"
STORED: Final = "definition.stored.v1"
KNOWN: Final = 512
"""Versions that are kept in memory: those that were used last."""


class EventStoreDefinitions:
    """See `DefinitionStore`."""

    def __init__(
        self, store: EventStore, now: Callable[[], datetime], *, most: int, most_versions: int
    ) -> None:
        """`most` definitions a tenant, each of `most_versions`."""
        self._store = store
        self._now = now
        self._most = most
        self._most_versions = most_versions
        self._known: Lately[tuple[str, str, int], Definition] = Lately(KNOWN, owner=lambda x: x[0])

    async def add(self, tenant: str, owner: str, definition: Definition) -> Definition:
        """See `DefinitionStore`."""
        newest = await self._found(tenant, RECORD, definition.name)
        if newest is not None and mapping.document(newest) == definition.document:
            return replace(definition, version=newest.version)
        await self._check_room(tenant, newest)
        version = newest.version + 1 if newest is not None else 1
        stored = replace(definition, version=version)
        body = mapping.packed(stored, owner, self._now()).SerializeToString()
        try:
            await self._store.append(
                Append(
                    tenant,
                    f"{RECORD}/{definition.name}",
                    version - 1,
                    [NewEvent(STORED, self._now(), body)],
                    records=[
                        Record(RECORD, definition.name, {"name": definition.name}, body),
                        Record(_versions(definition.name), _id(version), {}, body),
                    ],
                )
            )
        except Aborted as error:
            message = f"somebody else stored a version of {definition.name} meanwhile"
            raise Aborted("DEFINITION_CONFLICT", message, name=definition.name) from error
        return self._known.put((tenant, definition.name, version), stored)

    async def get(self, tenant: str, name: str, version: int = 0) -> Definition:
        """See `DefinitionStore`."""
        known = self._known.get((tenant, name, version)) if version else None
        if known is not None:
            return known
        message = await self._message(tenant, name, version)
        if (known := self._known.get((tenant, name, message.version))) is not None:
            return known
        made = _made(message)
        if made is None:
            raise _corrupt(name)
        definition = replace(made, version=message.version)
        return self._known.put((tenant, name, message.version), definition)

    async def shown(self, tenant: str, name: str, version: int = 0) -> bytes:
        """See `DefinitionStore`."""
        return (await self._message(tenant, name, version)).SerializeToString()

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `DefinitionStore`."""
        query = Query(tenant, RECORD, where, after, limit, False, PAGE_BYTES)
        return [(found.id, found.body) for found in await self._store.records(query)]

    async def _message(self, tenant: str, name: str, version: int) -> pb.Definition:
        if version:
            found = await self._found(tenant, _versions(name), _id(version))
            if found is not None:
                return found
        newest = await self._found(tenant, RECORD, name)
        if newest is None:
            raise _missing(name)
        if version:
            raise _missing_version(name, version, newest.version)
        return newest

    async def _found(self, tenant: str, kind: str, record_id: str) -> pb.Definition | None:
        if (found := await self._store.record(tenant, kind, record_id)) is None:
            return None
        try:
            return pb.Definition.FromString(found.body)
        except DecodeError:
            raise _corrupt(kind.partition("/")[2] or record_id) from None

    async def _check_room(self, tenant: str, newest: pb.Definition | None) -> None:
        if newest is not None:
            if newest.version >= self._most_versions:
                message = f"{newest.name} has {newest.version} versions, the most there can be"
                fix = "take another name"
                raise ResourceExhausted("TOO_MANY_DEFINITION_VERSIONS", message, suggested_fix=fix)
            return
        query = Query(tenant, RECORD, limit=self._most)
        if len(await self._store.records(query)) >= self._most:
            message = f"there are {self._most} definitions, the most there can be"
            raise ResourceExhausted("TOO_MANY_DEFINITIONS", message, limit=str(self._most))


def _made(message: pb.Definition) -> Definition | None:
    """The definition, if its document still is one."""
    try:
        return language.made(mapping.document(message), field="definition").definition
    except InvalidArgument:
        return None


def _corrupt(name: str) -> Internal:
    return Internal(
        "DEFINITION_CORRUPT",
        f"what is stored of the definition {name[:64]} cannot be read",
        definition=name[:64],
        suggested_fix="restore it from a backup",
    )


def _versions(name: str) -> str:
    """The kind of a definition's versions, so that they are found at once; no name has a slash."""
    return f"{RECORD}/{name}"


def _id(version: int) -> str:
    return f"{version:012d}"


def _missing(name: str) -> NotFound:
    return NotFound(
        "DEFINITION_NOT_FOUND",
        f"there is no definition {name[:64]}",
        field="definition",
        definition=name[:64],
        suggested_fix="store it first: POST /v1/definitions, or runplane workflow define FILE",
    )


def _upto(newest: int) -> str:
    return "1" if newest == 1 else f"1 to {newest}"


def _missing_version(name: str, version: int, newest: int) -> NotFound:
    return NotFound(
        "DEFINITION_VERSION_NOT_FOUND",
        f"{name[:64]} has no version {version}; the newest is {newest}",
        field="version",
        definition=name[:64],
        version=str(version),
        suggested_fix=f"use {_upto(newest)}, or leave it out for the newest",
    )
