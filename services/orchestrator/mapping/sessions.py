"""Sessions as protobuf, and back. Pure."""

from datetime import UTC
from typing import Final

from runplane.orchestrator.v1 import orchestrator_pb2, sessions_pb2

from services.chassis import structs
from services.chassis.filtering import Fields
from services.chassis.fingerprint import fingerprint
from services.orchestrator.domain.place import Place, Window
from services.orchestrator.domain.session import Line, Session, Summary, Transcript
from services.orchestrator.domain.task import State
from services.orchestrator.domain.wanted import Wanted
from services.orchestrator.mapping import large

FILTERED: Final = Fields({"owner", "create_time", "update_time"}, ("labels.",))


def session(found: Session) -> sessions_pb2.Session:
    """The resource."""
    message = sessions_pb2.Session(
        session_id=found.session_id,
        owner=found.owner,
        on_busy=found.on_busy,
        labels=found.labels,
        turns=found.turns,
        last_task_id=found.last,
        follows_task_id=found.follows,
        forked_from=found.forked_from,
        last_sequence=found.sequence,
    )
    if found.summary is not None:
        message.summary = found.summary.text
        message.summary_through = 2 * found.summary.through_turn
        message.summary_sequence = found.summary.sequence
        message.summary_through_sequence = found.summary.through
    structs.set_time(message.create_time, found.create_time)
    structs.set_time(message.update_time, found.update_time)
    return message


def read(body: bytes, tenant: str, *, is_deleted: bool) -> Session:
    """The session that a record is about."""
    message = sessions_pb2.Session.FromString(body)
    return Session(
        message.session_id,
        tenant,
        message.owner,
        message.on_busy,
        dict(message.labels),
        message.create_time.ToDatetime(UTC),
        message.update_time.ToDatetime(UTC),
        message.last_sequence,
        message.turns,
        message.last_task_id,
        message.follows_task_id,
        _summary(message),
        message.forked_from,
        is_deleted,
    )


def _summary(message: sessions_pb2.Session) -> Summary | None:
    if not message.summary_sequence:
        return None
    return Summary(
        message.summary,
        message.summary_through // 2,
        message.summary_through_sequence,
        message.summary_sequence,
    )


def wanted(
    request: sessions_pb2.CreateSessionRequest | sessions_pb2.ForkSessionRequest, key: str
) -> Wanted:
    """What a new session is to be; `key` is an idempotency key that came beside the message."""
    request.DiscardUnknownFields()
    key = request.idempotency_key or key
    return Wanted(request.on_busy, dict(request.labels), key, fingerprint(request) if key else "")


def said(body: bytes, *, follows: str) -> Transcript:
    """What a task's record says of its turn."""
    message = orchestrator_pb2.Task.FromString(body)
    answer, to = message.result, message.result_reference
    return Transcript(
        message.task_id,
        State(message.status),
        message.query,
        answer,
        message.create_time.ToDatetime(UTC),
        message.update_time.ToDatetime(UTC),
        follows,
        large.large(to, excerpt=answer) if message.HasField("result_reference") else None,
    )


def message(line: Line) -> sessions_pb2.SessionMessage:
    """What was said."""
    said = sessions_pb2.SessionMessage(
        message=line.number, role=line.role, content=line.content, task_id=line.task_id
    )
    if line.reference is not None:
        said.reference.CopyFrom(large.reference(line.reference))
    structs.set_time(said.time, line.time)
    return said


def place(start: orchestrator_pb2.TaskEvent) -> Place:
    """Where a task stands, from the first event of its log."""
    if not start.HasField("place"):
        return Place()
    return Place(start.place.turn, start.place.sequence, start.place.follows)


def set_place(start: orchestrator_pb2.TaskEvent, found: Place) -> None:
    """The same, into that event; nothing for the first task of a session."""
    if found.sequence:
        start.place.turn = found.turn
        start.place.sequence = found.sequence
        start.place.follows = found.follows


def window(event: orchestrator_pb2.TaskEvent) -> Window | None:
    """What a task is shown of its session, from the event that it began to run with."""
    if not event.HasField("memory"):
        return None
    memory = event.memory
    return Window(
        memory.after_sequence,
        memory.summary_sequence,
        memory.message_characters,
        memory.is_cut,
        memory.summarize_through,
    )


def set_window(event: orchestrator_pb2.TaskEvent, found: Window | None) -> None:
    """The same, into that event."""
    if found is not None:
        event.memory.CopyFrom(
            orchestrator_pb2.TaskMemory(
                after_sequence=found.after,
                summary_sequence=found.summary,
                message_characters=found.characters,
                is_cut=found.is_cut,
                summarize_through=found.summarize_through,
            )
        )
