"""What a task's events up to some sequence add up to, as a snapshot: the same events, with texts
that follow each other as one."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.eventlog.port import NewEvent, StoredEvent
from services.chassis.eventlog.times import from_micros, micros
from services.orchestrator.adapters import codec
from services.orchestrator.domain import events as ev

TEXT: Final = codec.NAMES[ev.TextAdded][0]
_HEAD: Final = struct.Struct(">HqI")  # Lengths of the name and the body, and the time between.


def merged(events: Iterable[NewEvent | StoredEvent]) -> Sequence[NewEvent]:
    """The events, with texts of one attempt that follow each other as one."""
    whole: list[NewEvent] = []
    for kind, run in groupby(events, key=lambda event: event.type):
        put = _joined if kind == TEXT else _plain
        whole += put(run)
    return whole


def _joined(texts: Iterable[NewEvent | StoredEvent]) -> Iterator[NewEvent]:
    read = [(event.time, pb.TaskEvent.FromString(event.body)) for event in texts]
    for _, attempt in groupby(read, key=lambda each: (each[1].step_id, each[1].attempt)):
        parts = list(attempt)
        time, message = parts[-1]
        message.text = "".join(each.text for _, each in parts)
        yield NewEvent(TEXT, time, message.SerializeToString())


def _plain(events: Iterable[NewEvent | StoredEvent]) -> Iterator[NewEvent]:
    return (NewEvent(event.type, event.time, event.body) for event in events)


def packed(events: Sequence[NewEvent]) -> bytes:
    """Events as the body of a snapshot."""
    parts: list[bytes] = []
    for event in events:
        name = event.type.encode()
        parts += (_HEAD.pack(len(name), micros(event.time), len(event.body)), name, event.body)
    return b"".join(parts)


def unpacked(body: bytes) -> Iterator[NewEvent]:
    """The events of a snapshot."""
    at = 0
    while at < len(body):
        name_length, time, body_length = _HEAD.unpack_from(body, at)
        at += _HEAD.size
        name = body[at : at + name_length].decode()
        at += name_length
        yield NewEvent(name, from_micros(time), body[at : at + body_length])
        at += body_length
