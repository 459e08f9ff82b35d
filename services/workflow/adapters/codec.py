"""What is decided, as what is stored: events that are chained by their hashes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from runplane.workflow.v1 import events_pb2 as pb

from services.chassis.eventlog.port import NewEvent, StoredEvent
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition
from services.workflow.domain.instance import Instance, Standing, evolve
from services.workflow.mapping.events import END, NAMES, packed, unpacked


@dataclass(frozen=True, slots=True)
class Encoded:
    """Events as they are stored, and the hash of the last one."""

    stored: Sequence[NewEvent]
    messages: Sequence[pb.WorkflowEvent]
    head: str


def encoded(
    definition: Definition, before: Instance | None, events: Sequence[ev.Event], head: str
) -> Encoded:
    """Events that follow an instance, whose last event has the hash `head`."""
    at = Standing(definition, before, before.update_time) if before else None
    stored, messages = [], []
    for event in events:
        instance = evolve(definition, at.instance if at else None, event)
        after = Standing(definition, instance, event.time)
        message = packed(at, event, after)
        message.previous_hash = head
        body = message.SerializeToString()
        stored.append(NewEvent(NAMES[type(event)][0], event.time, body))
        messages.append(message)
        head, at = hash_of(body), after
    return Encoded(stored, messages, head)


def decoded(stored: StoredEvent) -> ev.Event:
    """The event that was stored. Raises `KeyError` for a name that was never used."""
    return unpacked(pb.WorkflowEvent.FromString(stored.body), stored.type, stored.time)


def hash_of(body: bytes) -> str:
    """What the next event names this one by."""
    return hashlib.sha256(body).hexdigest()


def closes(body: bytes) -> bool:
    """Whether this is an event with which a workflow ends."""
    return pb.WorkflowEvent.FromString(body).type == END
