"""Workflows and signals to protobuf and back. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from runplane.type.v1 import content_pb2
from runplane.workflow.v1 import events_pb2
from runplane.workflow.v1 import workflow_pb2 as pb

from services.chassis import structs
from services.chassis.eventlog.port import Attribute, Record
from services.chassis.filtering import Fields, written
from services.workflow.domain import events as ev
from services.workflow.domain.instance import CLOSED, Done, Phase, Standing, key_of
from services.workflow.domain.status import status, waits_for
from services.workflow.domain.verification import Verified
from services.workflow.mapping.events import error

RECORD: Final = "workflow"
HEAD: Final = "head"
LABELS: Final = "labels."
STATES: Final = {
    "running": pb.WORKFLOW_STATE_RUNNING,
    "waiting": pb.WORKFLOW_STATE_WAITING,
    "completed": pb.WORKFLOW_STATE_COMPLETED,
    "failed": pb.WORKFLOW_STATE_FAILED,
    "canceled": pb.WORKFLOW_STATE_CANCELED,
    "compensating": pb.WORKFLOW_STATE_COMPENSATING,
    "compensated": pb.WORKFLOW_STATE_COMPENSATED,
    "compensation_failed": pb.WORKFLOW_STATE_COMPENSATION_FAILED,
}
_CLOSED: Final = frozenset(each.value for each in CLOSED)
FILTERED: Final = Fields(
    {
        "definition",
        "version",
        "status",
        "current_state",
        "correlation_id",
        "owner",
        "parent_workflow_id",
        "create_time",
        "update_time",
    },
    (LABELS,),
    {"status": written("WORKFLOW_STATE_", list(STATES))},
)


def packed(at: Standing) -> pb.Workflow:
    """A workflow as it stands."""
    instance, spec = at.instance, at.instance.spec
    word = status(at)
    message = pb.Workflow(
        workflow_id=spec.workflow_id,
        definition=spec.definition,
        version=spec.version,
        current_state=instance.state,
        status=word,
        state=STATES[word],
        correlation_id=spec.correlation_id,
        owner=spec.owner,
        last_sequence=instance.sequence,
        transitions=at.state.transitions if instance.phase is Phase.ACTIVE else (),
        waits_for=waits_for(at),
        completed_actions=[_done(at, done) for done in instance.done],
        deferred_signals=len(instance.deferred),
        parent_workflow_id=spec.parent_workflow_id,
        labels=spec.labels,
    )
    structs.from_dict(instance.data, message.data, field="data")
    message.data.SetInParent()
    structs.set_time(message.create_time, instance.create_time)
    structs.set_time(message.update_time, instance.update_time)
    if (due := _due(at)) is not None:
        structs.set_time(message.due, due)
    if instance.failure is not None:
        error(message.error, instance.failure)
    return message


def shown(body: bytes, workflow_id: str = "") -> pb.Workflow:
    """A workflow as it is shown; where that cannot be read, nothing of it but a warning."""
    try:
        return pb.Workflow.FromString(body)
    except DecodeError:
        said = "what is shown of it cannot be read; :verify writes it anew"
        warning = content_pb2.Warning(code="WORKFLOW_UNREADABLE", message=said)
        return pb.Workflow(workflow_id=workflow_id, warnings=[warning])


def record(at: Standing, head: str) -> Record:
    """What lists show of a workflow, and what they can be filtered by. `head` is the hash of its
    last event: no other event names it."""
    message = packed(at)
    attributes = _attributes(message, at, head)
    return Record(RECORD, message.workflow_id, attributes, message.SerializeToString())


def _attributes(message: pb.Workflow, at: Standing, head: str) -> dict[str, Attribute]:
    return {
        "definition": message.definition,
        "version": float(message.version),
        "status": message.status,
        "current_state": message.current_state,
        "correlation_id": message.correlation_id,
        "owner": message.owner,
        "parent_workflow_id": message.parent_workflow_id,
        "create_time": text_of(at.instance.create_time),
        "update_time": text_of(at.instance.update_time),
        HEAD: head,
        **{f"{LABELS}{name}": value for name, value in at.instance.spec.labels.items()},
    }


def sequence_of(found: Record) -> int:
    """The last event that a record shows; 0 where that cannot be read."""
    try:
        return pb.Workflow.FromString(found.body).last_sequence
    except DecodeError:
        return 0


def is_closed(found: Record) -> bool:
    """Whether nothing goes on by itself any more in the workflow that this shows."""
    return found.attributes.get("status") in _CLOSED


def differences(found: Record, at: Standing) -> Sequence[str]:
    """What a record shows otherwise than the workflow stands: names of fields and attributes. Those
    that this version does not know are a newer one's."""
    try:
        known = pb.Workflow.FromString(found.body)
    except DecodeError:
        return ["all: it cannot be read"]
    message = packed(at)
    names = [each.name for each in message.DESCRIPTOR.fields]
    wrong = [name for name in names if getattr(known, name) != getattr(message, name)]
    there, right = {**found.attributes, HEAD: ""}, _attributes(message, at, "")
    labels = {name for name in there if name.startswith(LABELS)}
    attributes = sorted(labels | right.keys())
    filters = [name for name in attributes if there.get(name) != right.get(name)]
    return [*wrong, *(f"filter {name[:64]}" for name in filters)]


def verification(found: Verified) -> pb.Verification:
    """What a verification found."""
    return pb.Verification(
        workflow_id=found.workflow_id,
        consistent=not found.findings,
        events=found.count,
        last_sequence=found.last_sequence,
        problems=[
            pb.VerificationProblem(
                kind=each.fault.value,
                sequence=each.sequence,
                message=each.message,
                is_repaired=each.is_repaired,
            )
            for each in found.findings
        ],
    )


def text_of(time: datetime) -> str:
    """A time as lists compare it: of one width, so that times compare as texts."""
    return f"{time.astimezone(UTC).isoformat(timespec='microseconds').removesuffix('+00:00')}Z"


def signal(
    message: pb.SignalWorkflowRequest | pb.ApproveTransitionRequest | pb.RejectTransitionRequest,
    by: str,
) -> ev.Signal:
    """What somebody tells a workflow.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the payload holds what JSON does not.
    """
    named: Mapping[str, str] = (
        {"event": message.event}
        if isinstance(message, pb.SignalWorkflowRequest)
        else {"comment": message.comment}
    )
    payload = structs.to_dict(message.payload, field="payload")
    return ev.Signal(target=message.target, payload=payload, by=by, **named)


def _done(at: Standing, done: Done) -> events_pb2.WorkflowActionEvent:
    action = at.definition.states[done.state].actions[done.index]
    return events_pb2.WorkflowActionEvent(
        name=action.name,
        kind=action.kind.value,
        target=action.target,
        index=done.index,
        idempotency_key=key_of(at.instance, done.entry, done.index),
        state=done.state,
        is_uncertain=done.is_uncertain,
    )


def _due(at: Standing) -> datetime | None:
    instance = at.instance
    if instance.phase is Phase.COMPENSATING:
        return instance.retry_at
    times = [each for each in (instance.retry_at, at.until) if each is not None]
    return min(times, default=None)
