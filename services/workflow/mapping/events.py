"""Events to protobuf and back. Pure. What is stored is what goes over the wire.

A stored name is for ever: to change an event, add `.v2` and keep `.v1`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from runplane.workflow.v1 import events_pb2 as pb

from services.chassis import structs
from services.workflow.domain import events as ev
from services.workflow.domain.definition import Action, Kind
from services.workflow.domain.instance import REJECTION, Standing, key_of, undoing
from services.workflow.domain.refusals import corrupt
from services.workflow.domain.status import status

NAMES: Final[dict[type[ev.Event], tuple[str, str]]] = {
    ev.Started: ("workflow.started.v1", "workflow_started"),
    ev.Moved: ("workflow.moved.v1", "transition"),
    ev.ValidationRequested: ("workflow.validation_requested.v1", "validation_requested"),
    ev.ValidationRejected: ("workflow.validation_rejected.v1", "validation_rejected"),
    ev.SignalDeferred: ("workflow.signal_deferred.v1", "signal_deferred"),
    ev.SignalDropped: ("workflow.signal_dropped.v1", "signal_dropped"),
    ev.ChildStarted: ("workflow.child_started.v1", "child_started"),
    ev.ActionCompleted: ("workflow.action_completed.v1", "action_completed"),
    ev.ActionAttemptFailed: ("workflow.action_attempt_failed.v1", "action_attempt_failed"),
    ev.ActionFailed: ("workflow.action_failed.v1", "action_failed"),
    ev.CancelRequested: ("workflow.cancel_requested.v1", "cancel_requested"),
    ev.CompensationStarted: ("workflow.compensation_started.v1", "compensation_started"),
    ev.ActionCompensated: ("workflow.action_compensated.v1", "action_compensated"),
    ev.CompensationAttemptFailed: (
        "workflow.compensation_attempt_failed.v1",
        "compensation_attempt_failed",
    ),
    ev.CompensationFailed: ("workflow.compensation_failed.v1", "compensation_failed"),
    ev.CompensationResumed: ("workflow.compensation_resumed.v1", "compensation_resumed"),
    ev.ProjectionRepaired: ("workflow.projection_repaired.v1", "projection_repaired"),
    ev.Ended: ("workflow.ended.v1", "workflow_ended"),
}
TYPES: Final = {stored: kind for kind, (stored, _) in NAMES.items()}
END: Final = "workflow_ended"
METRICS: Final = ("transition_time_ms", "validation_time_ms", "compensation_time_ms")
REPAIRED: Final = "projection_repaired"
_DECISIONS: Final = {"approval": "approved", REJECTION: "rejected"}


def packed(before: Standing | None, event: ev.Event, after: Standing) -> pb.WorkflowEvent:
    """One event, between the workflow as it stood and as it stands."""
    spec = after.instance.spec
    kind = NAMES[type(event)][1]
    message = pb.WorkflowEvent(
        type=kind,
        event_type=kind,
        workflow_id=spec.workflow_id,
        sequence=after.instance.sequence,
        tenant=spec.tenant,
        correlation_id=spec.correlation_id,
        status=status(after),
        orchestrator=ev.WORKFLOW,
        trace_id=spec.trace_id,
    )
    structs.set_time(message.timestamp, event.time)
    for name in METRICS:  # Always there, whatever they say.
        setattr(message.metrics, name, 0.0)
    if isinstance(event, ev.ActionEvent) and before is not None:
        _action(message, event, before)
    elif isinstance(event, ev.UndoEvent) and before is not None:
        _undo(message, event, before)
    if (write := _WRITE.get(type(event))) is not None:
        write(message, event, after)
    return message


def shown(body: bytes, workflow_id: str, sequence: int) -> pb.WorkflowEvent:
    """An event as it goes over the wire.

    Raises:
        Internal: `WORKFLOW_CORRUPT`.
    """
    try:
        return pb.WorkflowEvent.FromString(body)
    except DecodeError:
        raise corrupt(workflow_id, sequence) from None


def unpacked(message: pb.WorkflowEvent, stored_type: str, time: datetime) -> ev.Event:
    """The event that was stored. Raises `KeyError` for a name that was never used."""
    return _READ[TYPES[stored_type]](message, time)


def _action(message: pb.WorkflowEvent, event: ev.ActionEvent, before: Standing) -> None:
    instance = before.instance
    action = before.state.actions[event.index]
    _describe(message, action, event.attempt, event.index)
    message.action.state = instance.state
    message.action.idempotency_key = key_of(instance, instance.entry, event.index)


def _undo(message: pb.WorkflowEvent, event: ev.UndoEvent, before: Standing) -> None:
    done = before.instance.done[-1]
    _describe(message, undoing(before.definition, done), event.attempt, done.index)
    message.action.state = done.state
    key = key_of(before.instance, done.entry, done.index)
    message.action.idempotency_key = f"{key}/undo"
    message.action.is_uncertain = done.is_uncertain


def _describe(message: pb.WorkflowEvent, action: Action, attempt: int, index: int) -> None:
    message.action.name = action.name
    message.action.kind = action.kind.value
    message.action.target = action.target
    message.action.attempt = attempt
    message.action.index = index


def _started(message: pb.WorkflowEvent, event: ev.Started, after: Standing) -> None:
    spec = event.spec
    message.event_type = after.definition.event_type(event.state)
    message.next_state = event.state
    message.orchestrator = spec.owner
    message.metrics.transition_time_ms = event.transition_ms
    structs.from_dict(event.data, message.payload, field="data")
    message.payload.SetInParent()
    start = message.start
    start.definition, start.version, start.owner = spec.definition, spec.version, spec.owner
    start.parent_workflow_id, start.depth = spec.parent_workflow_id, spec.depth
    start.labels.update(spec.labels)


def _moved(message: pb.WorkflowEvent, event: ev.Moved, after: Standing) -> None:
    message.event_type = after.definition.event_type(event.state)
    message.previous_state, message.next_state = event.previous, event.state
    message.cause, message.orchestrator = event.cause, event.by
    message.status = _DECISIONS.get(event.cause, message.status)
    message.metrics.transition_time_ms = event.transition_ms
    message.metrics.validation_time_ms = event.validation_ms
    _payload(message, event.payload)
    _said(message, event.signal, event.comment)


def _requested(message: pb.WorkflowEvent, event: ev.ValidationRequested, after: Standing) -> None:
    message.target, message.cause = event.signal.target, event.cause
    _signal(message, event.signal)


def _refused(message: pb.WorkflowEvent, event: ev.ValidationRejected, after: Standing) -> None:
    message.target, message.cause = event.target, event.cause
    if (guard := after.state.guard) is not None and guard.action is not None:
        message.orchestrator = guard.action.target
    message.metrics.validation_time_ms = event.validation_ms
    _error(message, event.failure)


def _dropped(message: pb.WorkflowEvent, event: ev.SignalDropped, after: Standing) -> None:
    _deferred(message, event, after)
    _error(message, event.failure)


def _deferred(
    message: pb.WorkflowEvent, event: ev.SignalDeferred | ev.SignalDropped, after: Standing
) -> None:
    if event.signal.target:
        message.target = event.signal.target
    _signal(message, event.signal)


def _child(message: pb.WorkflowEvent, event: ev.ChildStarted, after: Standing) -> None:
    message.child_workflow_id = event.workflow_id


def _completed(message: pb.WorkflowEvent, event: ev.ActionCompleted, after: Standing) -> None:
    message.metrics.action_time_ms = event.duration_ms
    _write_output(message, event.output)


def _attempt(message: pb.WorkflowEvent, event: ev.ActionAttemptFailed, after: Standing) -> None:
    structs.set_time(message.due, event.due)
    message.action.is_uncertain = event.is_uncertain
    _error(message, event.failure)


def _failed(message: pb.WorkflowEvent, event: ev.ActionFailed, after: Standing) -> None:
    message.action.is_uncertain = event.is_uncertain
    message.metrics.action_time_ms = event.duration_ms
    _error(message, event.failure)


def _by(
    message: pb.WorkflowEvent, event: ev.CancelRequested | ev.CompensationResumed, after: Standing
) -> None:
    message.orchestrator = event.by
    _said(message, "", event.reason)


def _compensation(
    message: pb.WorkflowEvent, event: ev.CompensationStarted, after: Standing
) -> None:
    message.cause, message.orchestrator = event.cause, event.by
    _said(message, "", event.reason)
    _error(message, event.failure)


def _compensated(message: pb.WorkflowEvent, event: ev.ActionCompensated, after: Standing) -> None:
    message.metrics.compensation_time_ms = event.duration_ms
    _write_output(message, event.output)


def _undo_attempt(
    message: pb.WorkflowEvent, event: ev.CompensationAttemptFailed, after: Standing
) -> None:
    structs.set_time(message.due, event.due)
    _error(message, event.failure)


def _undo_failed(message: pb.WorkflowEvent, event: ev.CompensationFailed, after: Standing) -> None:
    _error(message, event.failure)


def _repaired(message: pb.WorkflowEvent, event: ev.ProjectionRepaired, after: Standing) -> None:
    message.problems.extend(event.problems)


def _ended(message: pb.WorkflowEvent, event: ev.Ended, after: Standing) -> None:
    message.status = event.status
    _error(message, event.failure)


def _signal(message: pb.WorkflowEvent, signal: ev.Signal) -> None:
    message.orchestrator = signal.by
    _payload(message, signal.payload)
    _said(message, signal.event, signal.comment)


def _payload(message: pb.WorkflowEvent, payload: ev.Object) -> None:
    if payload:
        structs.from_dict(payload, message.payload, field="payload")


def _said(message: pb.WorkflowEvent, signal: str, comment: str) -> None:
    if signal:
        message.signal = signal
    if comment:
        message.comment = comment


def _error(message: pb.WorkflowEvent, failure: ev.Failure | None) -> None:
    if failure is not None:
        error(message.error, failure)


def error(into: pb.WorkflowError, failure: ev.Failure) -> None:
    """Fill an error."""
    into.code, into.reason = failure.code, failure.reason
    into.message, into.suggested_fix = failure.message, failure.suggested_fix


_WRITE: Final[Mapping[type[ev.Event], Callable[[pb.WorkflowEvent, Any, Standing], None]]] = {
    ev.Started: _started,
    ev.Moved: _moved,
    ev.ValidationRequested: _requested,
    ev.ValidationRejected: _refused,
    ev.SignalDeferred: _deferred,
    ev.SignalDropped: _dropped,
    ev.ChildStarted: _child,
    ev.ActionCompleted: _completed,
    ev.ActionAttemptFailed: _attempt,
    ev.ActionFailed: _failed,
    ev.CancelRequested: _by,
    ev.CompensationStarted: _compensation,
    ev.ActionCompensated: _compensated,
    ev.CompensationAttemptFailed: _undo_attempt,
    ev.CompensationFailed: _undo_failed,
    ev.CompensationResumed: _by,
    ev.ProjectionRepaired: _repaired,
    ev.Ended: _ended,
}


def _spec(message: pb.WorkflowEvent) -> ev.Spec:
    start = message.start
    return ev.Spec(
        workflow_id=message.workflow_id,
        tenant=message.tenant,
        owner=start.owner,
        definition=start.definition,
        version=start.version,
        correlation_id=message.correlation_id,
        trace_id=message.trace_id,
        parent_workflow_id=start.parent_workflow_id,
        depth=start.depth,
        labels=dict(start.labels),
    )


def _to_signal(message: pb.WorkflowEvent) -> ev.Signal:
    return ev.Signal(
        target=message.target,
        event=message.signal,
        payload=structs.to_dict(message.payload),
        by=message.orchestrator,
        comment=message.comment,
    )


def _to_failure(message: pb.WorkflowEvent) -> ev.Failure:
    found = message.error
    return ev.Failure(found.code, found.reason, found.message, found.suggested_fix)


def _maybe_failure(message: pb.WorkflowEvent) -> ev.Failure | None:
    return _to_failure(message) if message.HasField("error") else None


def _write_output(message: pb.WorkflowEvent, output: object) -> None:
    """That of an event is what is published: its type and its payload are this event's own."""
    if message.action.kind != Kind.EVENT.value:
        structs.from_dict({"output": output}, message.payload, field="output")
        return
    message.event_type = message.action.target
    structs.from_dict(
        output if isinstance(output, Mapping) else {}, message.payload, field="payload"
    )
    message.payload.SetInParent()


def _output(message: pb.WorkflowEvent) -> object:
    if message.action.kind == Kind.EVENT.value:
        return structs.to_dict(message.payload)
    return structs.to_value(message.payload.fields["output"])


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _read_moved(message: pb.WorkflowEvent, time: datetime) -> ev.Moved:
    return ev.Moved(
        time,
        message.previous_state,
        message.next_state,
        message.cause,
        message.orchestrator,
        signal=message.signal,
        payload=structs.to_dict(message.payload),
        comment=message.comment,
        transition_ms=message.metrics.transition_time_ms,
        validation_ms=message.metrics.validation_time_ms,
    )


def _read_rejected(message: pb.WorkflowEvent, time: datetime) -> ev.ValidationRejected:
    took = message.metrics.validation_time_ms
    failure = _to_failure(message)
    return ev.ValidationRejected(time, message.target, message.cause, failure, took)


def _read_completed(message: pb.WorkflowEvent, time: datetime) -> ev.ActionCompleted:
    index, attempt = message.action.index, message.action.attempt
    took = message.metrics.action_time_ms
    return ev.ActionCompleted(time, index, attempt, _output(message), took)


def _read_attempt(message: pb.WorkflowEvent, time: datetime) -> ev.ActionAttemptFailed:
    action = message.action
    return ev.ActionAttemptFailed(
        time,
        action.index,
        action.attempt,
        _to_failure(message),
        _time(message.due),
        is_uncertain=action.is_uncertain,
    )


def _read_failed(message: pb.WorkflowEvent, time: datetime) -> ev.ActionFailed:
    action = message.action
    return ev.ActionFailed(
        time,
        action.index,
        action.attempt,
        _to_failure(message),
        is_uncertain=action.is_uncertain,
        duration_ms=message.metrics.action_time_ms,
    )


def _read_compensation(message: pb.WorkflowEvent, time: datetime) -> ev.CompensationStarted:
    failure, who = _maybe_failure(message), message.orchestrator
    return ev.CompensationStarted(time, message.cause, who, failure, message.comment)


def _read_compensated(message: pb.WorkflowEvent, time: datetime) -> ev.ActionCompensated:
    took = message.metrics.compensation_time_ms
    return ev.ActionCompensated(time, message.action.attempt, _output(message), took)


_READ: Final[Mapping[type[ev.Event], Callable[[pb.WorkflowEvent, datetime], ev.Event]]] = {
    ev.Started: lambda m, time: ev.Started(
        time,
        _spec(m),
        m.next_state,
        structs.to_dict(m.payload),
        m.metrics.transition_time_ms,
    ),
    ev.Moved: _read_moved,
    ev.ValidationRequested: lambda m, time: ev.ValidationRequested(time, _to_signal(m), m.cause),
    ev.ValidationRejected: _read_rejected,
    ev.SignalDeferred: lambda m, time: ev.SignalDeferred(time, _to_signal(m)),
    ev.SignalDropped: lambda m, time: ev.SignalDropped(time, _to_signal(m), _to_failure(m)),
    ev.ChildStarted: lambda m, time: ev.ChildStarted(
        time, m.action.index, m.action.attempt, m.child_workflow_id
    ),
    ev.ActionCompleted: _read_completed,
    ev.ActionAttemptFailed: _read_attempt,
    ev.ActionFailed: _read_failed,
    ev.CancelRequested: lambda m, time: ev.CancelRequested(time, m.orchestrator, m.comment),
    ev.CompensationStarted: _read_compensation,
    ev.ActionCompensated: _read_compensated,
    ev.CompensationAttemptFailed: lambda m, time: ev.CompensationAttemptFailed(
        time, m.action.attempt, _to_failure(m), _time(m.due)
    ),
    ev.CompensationFailed: lambda m, time: ev.CompensationFailed(
        time, m.action.attempt, _to_failure(m)
    ),
    ev.CompensationResumed: lambda m, time: ev.CompensationResumed(time, m.orchestrator, m.comment),
    ev.ProjectionRepaired: lambda m, time: ev.ProjectionRepaired(time, tuple(m.problems)),
    ev.Ended: lambda m, time: ev.Ended(time, m.status, _maybe_failure(m)),
}
