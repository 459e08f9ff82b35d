"""Sessions on an event store: a stream for each, and a record that says what it adds up to.

A stored name is for ever: to change an event, add `.v2` and keep `.v1`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from services.chassis.eventlog.newer import check_known
from services.chassis.eventlog.port import (
    Append,
    Compare,
    Condition,
    EventStore,
    Every,
    Kept,
    Key,
    NewEvent,
    Query,
    Record,
    StoredEvent,
)
from services.orchestrator.adapters import codec
from services.orchestrator.domain import session as ss
from services.orchestrator.domain.task import Task
from services.orchestrator.mapping import sessions as mapping

KIND: Final = "session"
IS_DELETED: Final = "is_deleted"
_EXISTS: Final = Compare(IS_DELETED, "!=", True)

NAMES: Final[dict[type[ss.Event], str]] = {
    ss.Created: "session.created.v1",
    ss.TurnAdded: "session.turn_added.v1",
    ss.TurnVoided: "session.turn_voided.v1",
    ss.Summarized: "session.summarized.v1",
    ss.Updated: "session.updated.v1",
    ss.Deleted: "session.deleted.v1",
}


class EventStoreSessions:
    """See `SessionStore`."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, tenant: str, session_id: str) -> ss.Session | None:
        """See `SessionStore`."""
        found = await self._store.record(tenant, KIND, session_id)
        if found is None:
            return None
        return mapping.read(found.body, tenant, is_deleted=IS_DELETED in found.attributes)

    async def append(
        self, session: ss.Session | None, events: Sequence[ss.Event], key: Key | None = None
    ) -> ss.Session:
        """See `SessionStore`."""
        expected = session.sequence if session else 0
        if session is not None and session.sequence == 0:
            events = [*ss.opening(session), *events]
            session = None
        new = []
        for event in events:
            session = ss.evolve(session, event)
            new.append(encode(event))
        if session is None:
            raise ValueError("a session begins with an event")
        await self._store.append(
            Append(
                session.tenant,
                session.session_id,
                expected,
                new,
                records=[record(session)],
                key=key,
            )
        )
        return session

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `SessionStore`."""
        return await self._store.kept(tenant, key.scope, key.key)

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """See `SessionStore`."""
        existing = _EXISTS if where is None else Every([_EXISTS, where])
        found = await self._store.records(Query(tenant, KIND, existing, after, limit))
        return [(each.id, each.body) for each in found]

    async def events(
        self, session: ss.Session, *, after: int, limit: int
    ) -> Sequence[tuple[int, ss.Event]]:
        """See `SessionStore`."""
        if session.sequence == 0:
            return list(enumerate(ss.opening(session), 1))[after : after + limit]
        stored = await self._store.read(
            session.tenant, session.session_id, after=after, limit=limit
        )
        return [(each.sequence, decode(each)) for each in stored]

    async def said(self, tenant: str, task_id: str) -> ss.Transcript | None:
        """See `SessionStore`."""
        found = await self._store.record(tenant, codec.RECORD, task_id)
        if found is None:
            return None
        return mapping.said(found.body, follows=str(found.attributes.get(codec.FOLLOWS, "")))


def opened(task: Task) -> Record:
    """The record of a session that begins with a task."""
    spec = task.spec
    return record(
        ss.Session(
            spec.session_id,
            spec.tenant,
            spec.owner,
            spec.on_busy or "reject",
            spec.labels,
            task.create_time,
            task.create_time,
            turns=1,
            last=spec.task_id,
        )
    )


def record(session: ss.Session) -> Record:
    """What lists show of a session, and what they can be filtered by."""
    created, updated = session.create_time, session.update_time
    since = codec.text_of(created)
    attributes: dict[str, str | bool] = {
        "owner": session.owner,
        "create_time": since,
        "update_time": since if updated is created else codec.text_of(updated),
        **{f"labels.{name}": value for name, value in session.labels.items()},
    }
    if session.is_deleted:
        attributes[IS_DELETED] = True
    body = mapping.session(session).SerializeToString()
    return Record(KIND, session.session_id, attributes, body)


def encode(event: ss.Event) -> NewEvent:
    """One event."""
    body = json.dumps(_WRITE[type(event)](event), ensure_ascii=False)
    return NewEvent(NAMES[type(event)], event.time, body.encode())


def decode(stored: StoredEvent) -> ss.Event:
    """The event that was stored.

    Raises:
        Unavailable: `WRITTEN_BY_NEWER_VERSION`.
        KeyError: the name was never used.
    """
    check_known(_READ, stored.type)
    return _READ[stored.type](json.loads(stored.body), stored)


def _write_created(event: ss.Created) -> dict[str, object]:
    return {
        "owner": event.owner,
        "on_busy": event.on_busy,
        "labels": dict(event.labels),
        "forked_from": event.forked_from,
    }


def _write_turn(event: ss.TurnAdded) -> dict[str, object]:
    return {
        "turn": event.turn,
        "task_id": event.task_id,
        "follows": event.follows,
        "has_answer": event.has_answer,
        "is_forked": event.is_forked,
    }


def _write_summary(event: ss.Summarized) -> dict[str, object]:
    summary = event.summary
    return {
        "summary": summary.text,
        "through_turn": summary.through_turn,
        "through": summary.through,
    }


_WRITE: Final[dict[type[ss.Event], Callable[[Any], dict[str, object]]]] = {
    ss.Created: _write_created,
    ss.TurnAdded: _write_turn,
    ss.TurnVoided: lambda event: {"task_id": event.task_id},
    ss.Summarized: _write_summary,
    ss.Updated: lambda event: {"on_busy": event.on_busy, "labels": dict(event.labels)},
    ss.Deleted: lambda event: {},
}


def _read_created(body: dict[str, Any], stored: StoredEvent) -> ss.Event:
    return ss.Created(
        stored.time,
        stored.stream_id,
        stored.tenant,
        body["owner"],
        body["on_busy"],
        body["labels"],
        body["forked_from"],
    )


def _read_turn(body: dict[str, Any], stored: StoredEvent) -> ss.Event:
    return ss.TurnAdded(
        stored.time,
        body["turn"],
        body["task_id"],
        body["follows"],
        body["has_answer"],
        body["is_forked"],
    )


def _read_summary(body: dict[str, Any], stored: StoredEvent) -> ss.Event:
    summary = ss.Summary(body["summary"], body["through_turn"], body["through"], stored.sequence)
    return ss.Summarized(stored.time, summary)


_READ: Final[dict[str, Callable[[dict[str, Any], StoredEvent], ss.Event]]] = {
    "session.created.v1": _read_created,
    "session.turn_added.v1": _read_turn,
    "session.turn_voided.v1": lambda body, stored: ss.TurnVoided(stored.time, body["task_id"]),
    "session.summarized.v1": _read_summary,
    "session.updated.v1": lambda body, stored: ss.Updated(
        stored.time, body["on_busy"], body["labels"]
    ),
    "session.deleted.v1": lambda body, stored: ss.Deleted(stored.time),
}
