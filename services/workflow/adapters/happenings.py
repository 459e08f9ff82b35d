"""Events from outside: kept on the event store for the bus, and read from the bus."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

from google.protobuf.struct_pb2 import Struct

from services.chassis import structs
from services.chassis.context import traceparent_of
from services.chassis.errors import ResourceExhausted, Violation, invalid
from services.chassis.eventbus import cloudevents
from services.chassis.eventbus.cloudevents import CloudEvent
from services.chassis.eventbus.inbound import Handler
from services.chassis.eventbus.port import Message
from services.chassis.eventlog.backlog import RETRY_AFTER, Backlog
from services.chassis.eventlog.port import Append, EventStore, Kept, Key, NewEvent
from services.chassis.tracing.messaging import received
from services.workflow.adapters.histories import PREFIX
from services.workflow.adapters.publications import SOURCE
from services.workflow.usecases.happenings import Happening, Happenings
from services.workflow.usecases.workflows import Caller

STORED: Final = "event.published.v1"
TENANT: Final = "default"
"""Of events that do not say whose they are."""


class EventStoreHappenings:
    """See `HappeningLog`: a stream of one event for each, and a message beside it.

    `behind` says how many events that came in are not dealt with; beyond what a topic may have, no
    more are let in.
    """

    def __init__(
        self,
        store: EventStore,
        backlog: Backlog,
        topic: str,
        now: Callable[[], datetime],
        behind: Callable[[], int],
    ) -> None:
        self._store = store
        self._backlog = backlog
        self._topic = topic
        self._now = now
        self._behind = behind

    async def add(self, caller: Caller, happening: Happening, key: Key | None) -> None:
        """See `HappeningLog`."""
        message = packed(happening, caller, self._topic, self._now())
        self._check_pace()
        self._backlog.admit(self._topic)
        stored = NewEvent(STORED, self._now(), message.value)
        await self._store.append(
            Append(caller.tenant, happening.id, 0, [stored], outbox=[message], key=key)
        )

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """See `HappeningLog`."""
        return await self._store.kept(tenant, key.scope, key.key)

    def _check_pace(self) -> None:
        behind, most = self._behind(), self._backlog.most(self._topic)
        if behind > most:
            raise ResourceExhausted(
                "INBOUND_FULL",
                f"{behind} events that came in wait to be dealt with",
                waiting=str(behind),
                most=str(most),
                suggested_fix="send it again later",
            ).after(RETRY_AFTER)


def packed(happening: Happening, caller: Caller, topic: str, time: datetime) -> Message:
    """An event as the bus is told it."""
    extensions = {"tenant": caller.tenant}
    if happening.correlation_id:
        extensions["correlationid"] = happening.correlation_id
    event = CloudEvent(
        id=happening.id,
        source=SOURCE,
        type=happening.type,
        data=json.dumps(happening.payload, ensure_ascii=False).encode(),
        content_type="application/json",
        subject=happening.workflow_id,
        time=time,
        key=happening.workflow_id or happening.correlation_id,
        traceparent=traceparent_of(caller.trace_id) if caller.trace_id else "",
        extensions=extensions,
    )
    return cloudevents.packed(event, topic)


def unpacked(event: CloudEvent) -> Happening:
    """What a CloudEvent tells. Its id is told apart from those of other sources.

    Raises:
        InvalidArgument: `CLOUDEVENT_INVALID`; its data is no JSON object.
    """
    own = event.source == SOURCE
    name = event.id if own else hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()
    workflow_id = event.subject if event.subject.startswith(PREFIX) else ""
    return Happening(
        id=name,
        type=event.type,
        payload=_object(event.data),
        correlation_id="" if workflow_id else event.extensions.get("correlationid", ""),
        workflow_id=workflow_id,
    )


def handler(happenings: Happenings) -> Handler:
    """Deals with messages of the inbound topic."""

    async def handle(message: Message) -> None:
        event = cloudevents.unpacked(message)
        tenant = event.extensions.get("tenant", TENANT)
        with received(message, event.traceparent, tenant) as here:
            await happenings.arrived(tenant, unpacked(event), here.trace_id)

    return handle


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        fix = "send a JSON object as data"
        raise invalid(Violation("data", "is no JSON object", fix), reason="CLOUDEVENT_INVALID")
    return structs.to_dict(structs.from_dict(found, Struct(), field="data"))
