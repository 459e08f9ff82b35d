"""What is decided, as what is stored: events that are chained by their hashes."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from google.protobuf.message import DecodeError
from runplane.workflow.v1 import events_pb2 as pb

from services.chassis.errors import ServiceError
from services.chassis.eventlog.newer import check_known
from services.chassis.eventlog.port import NewEvent, StoredEvent
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Definition
from services.workflow.domain.evolution import evolve
from services.workflow.domain.instance import CLOSED, Instance, Standing
from services.workflow.domain.verification import Recorded
from services.workflow.mapping.events import (
    END,
    NAMES,
    REPAIRED,
    TYPES,
    packed,
    unpacked,
)

_CLOSED: Final = frozenset(each.value for each in CLOSED)


class Unreadable(Exception):
    """What is stored is no event."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Events as they are stored, and the hash of the last one."""

    stored: Sequence[NewEvent]
    messages: Sequence[pb.WorkflowEvent]
    head: str


def encoded(
    definition: Definition, before: Instance | None, decided: Decided, head: str
) -> Encoded:
    """What was decided of an instance, whose last event has the hash `head`."""
    last, events = decided
    at = Standing(definition, before, before.update_time) if before else None
    stored, messages = [], []
    for left, event in enumerate(events, 1 - len(events)):
        instance = evolve(definition, at.instance if at else None, event) if left else last
        after = Standing(definition, instance, event.time)
        message = packed(at, event, after)
        message.previous_hash = head
        body = message.SerializeToString(deterministic=True)
        stored.append(NewEvent(NAMES[type(event)][0], event.time, body))
        messages.append(message)
        head, at = hash_of(body), after
    return Encoded(stored, messages, head)


def decoded(stored: StoredEvent | NewEvent) -> ev.Event:
    """The event that was stored. Raises `Unreadable`; Unavailable `WRITTEN_BY_NEWER_VERSION`."""
    check_known(TYPES, stored.type)
    with _reading():
        return unpacked(pb.WorkflowEvent.FromString(stored.body), stored.type, stored.time)


def recorded(stored: StoredEvent) -> Recorded:
    """The same for whoever looks whether it is what was recorded.

    Raises:
        Unavailable: `WRITTEN_BY_NEWER_VERSION`.
    """
    check_known(TYPES, stored.type)
    digest = hash_of(stored.body)
    try:
        with _reading():
            message = pb.WorkflowEvent.FromString(stored.body)
            event = unpacked(message, stored.type, stored.time)
            differs = tuple(_differing(stored, message))
    except Unreadable:
        return Recorded(stored.sequence, digest, None)
    return Recorded(stored.sequence, digest, event, message.previous_hash, differs)


def hash_of(body: bytes) -> str:
    """What the next event names this one by."""
    return hashlib.sha256(body).hexdigest()


def closes(body: bytes) -> bool:
    """Whether a workflow is over after this event. Raises `Unreadable`."""
    with _reading():
        message = pb.WorkflowEvent.FromString(body)
    return message.type == END or (message.type == REPAIRED and message.status in _CLOSED)


def _differing(stored: StoredEvent, message: pb.WorkflowEvent) -> Iterator[str]:
    """What the store says of an event otherwise than its body does."""
    if message.type != NAMES[TYPES[stored.type]][1]:
        yield "type"
    if message.timestamp.ToDatetime(tzinfo=UTC) != stored.time:
        yield "time"
    if message.sequence != stored.sequence:
        yield "sequence"
    if (message.tenant, message.workflow_id) != (stored.tenant, stored.stream_id):
        yield "workflow"


@contextmanager
def _reading() -> Iterator[None]:
    """Whatever can be wrong with bytes that somebody else may have written."""
    try:
        yield
    except (DecodeError, KeyError, ValueError, OverflowError, ServiceError) as error:
        raise Unreadable(type(error).__name__) from error
