"""Events as bytes: what is stored is what goes over the wire.

A stored name is for ever: to change an event, add `.v2` and keep `.v1`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.type.v1 import usage_pb2

from services.chassis import structs
from services.chassis.eventlog.newer import check_known
from services.chassis.eventlog.port import NewEvent, Record, StoredEvent
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.task import State, Task
from services.orchestrator.mapping import agents, routing, sessions, toolcalls
from services.orchestrator.mapping import large as mapping_large
from services.orchestrator.mapping import tasks as mapping

NAMES: Final[dict[type[ev.Event], tuple[str, str]]] = {
    ev.Queued: ("task.queued.v1", "task_start"),
    ev.Started: ("task.started.v1", "task_start"),
    ev.Claimed: ("task.claimed.v1", "status_changed"),
    ev.ThoughtAdded: ("task.thought_added.v1", "agent_thought"),
    ev.TextAdded: ("task.text_added.v1", "message_delta"),
    ev.ToolCalled: ("task.tool_called.v1", "tool_call"),
    ev.ChildStarted: ("task.child_started.v1", "child_task"),
    ev.ChildChanged: ("task.child_changed.v1", "child_status_changed"),
    ev.ToolProgressed: ("task.tool_progressed.v1", "tool_progress"),
    ev.ToolLogged: ("task.tool_logged.v1", "tool_log"),
    ev.ToolReturned: ("task.tool_returned.v1", "tool_result"),
    ev.ApprovalAsked: ("task.approval_asked.v1", "approval_required"),
    ev.ApprovalDecided: ("task.approval_decided.v1", "approval_decided"),
    ev.InputAsked: ("task.input_asked.v1", "input_required"),
    ev.InputReceived: ("task.input_received.v1", "input_received"),
    ev.InputGiven: ("task.input_given.v1", "input_given"),
    ev.Steered: ("task.steered.v1", "user_message"),
    ev.Waited: ("task.waited.v1", "status_changed"),
    ev.Resumed: ("task.resumed.v1", "status_changed"),
    ev.Answered: ("task.answered.v1", "final_answer"),
    ev.StepAbandoned: ("task.step_abandoned.v1", "step_abandoned"),
    ev.Warned: ("task.warned.v1", "warning"),
    ev.ModelChanged: ("task.model_changed.v1", "model_changed"),
    ev.Completed: ("task.completed.v1", "task_complete"),
    ev.Failed: ("task.failed.v1", "task_complete"),
    ev.Canceled: ("task.canceled.v1", "task_complete"),
}
END: Final = "task_complete"
STATUS: Final = "status_changed"
RECORD: Final = "task"
FOLLOWS: Final = "follows"  # Of a record: the task it waits for, or waited for when it ended.


def encode(event: ev.Event, task: Task) -> NewEvent:
    """One event, and the task as it stands after it."""
    name, kind = NAMES[type(event)]
    message = pb.TaskEvent(type=kind, task_id=task.spec.task_id, sequence=task.sequence)
    structs.set_time(message.time, event.time)
    if isinstance(event, ev.StepEvent):
        message.step_id = f"step_{event.step}"
        message.attempt = event.attempt
    _WRITE[type(event)](message, event, task)
    return NewEvent(name, event.time, message.SerializeToString())


def record(task: Task) -> Record:
    """What lists show of a task, and what they can be filtered by."""
    body = mapping.listed(task)
    attributes = {
        "status": body.status,
        "session_id": body.session_id,
        "agent_id": body.agent_id,
        "parent_task_id": body.parent_task_id,
        "owner": body.owner,
        "model": task.model,
        "create_time": text_of(task.create_time),
        "update_time": text_of(task.update_time),
        **{f"labels.{name}": value for name, value in task.spec.labels.items()},
    }
    if task.spec.place.follows and _never_ran(task):
        attributes[FOLLOWS] = task.spec.place.follows
    return Record(RECORD, body.task_id, attributes, body.SerializeToString())


def _never_ran(task: Task) -> bool:
    """Whether it has not begun to run, or ended first: its end is its second event then."""
    return task.state is State.PENDING or (task.is_closed and task.sequence == 2)


def state(found: Record) -> State:
    """Where the task of a record stands."""
    return State(found.attributes["status"])


def text_of(time: datetime) -> str:
    """A time as lists compare it: of one width, so that times compare as texts."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def decode(stored: NewEvent | StoredEvent, tenant: str) -> ev.Event:
    """The event that was stored.

    Raises:
        Unavailable: `WRITTEN_BY_NEWER_VERSION`.
        KeyError: the name was never used.
    """
    check_known(_READ, stored.type)
    return _READ[stored.type](pb.TaskEvent.FromString(stored.body), Where(stored.time, tenant))


def closes(body: bytes) -> bool:
    """Whether this stored event is its task's last."""
    return pb.TaskEvent.FromString(body).type == END


def state_after(body: bytes) -> State | None:
    """Where a task stands after this stored event; None where it stands as before."""
    message = pb.TaskEvent.FromString(body)
    return State(message.status) if message.type in (END, STATUS) else None


def _start(message: pb.TaskEvent, event: ev.Queued | ev.Started, task: Task) -> None:
    spec = event.spec
    message.status = task.state.value
    message.session_id = spec.session_id
    message.watch = f"/v1/tasks/{spec.task_id}:watch"
    message.request.MergeFromString(spec.request)
    message.request.limits.steps = spec.limits.steps  # Whatever the default is later.
    if spec.cache:  # Also of a task that another one asks for.
        message.request.cache = spec.cache
    if spec.agent_id:
        agents.record_terms(spec, message)
    message.owner = spec.owner
    structs.set_time(message.deadline, spec.deadline)
    message.metadata.CopyFrom(mapping.metadata(task))
    for name, large in spec.large:
        message.request_references.add(field=name, reference=mapping_large.reference(large))
    toolcalls.set_tools(message, spec.pinned)
    sessions.set_place(message, spec.place)
    if isinstance(event, ev.Started):
        sessions.set_window(message, event.window)


def _claimed(message: pb.TaskEvent, event: ev.Claimed, task: Task) -> None:
    _status(message, event, task)
    sessions.set_window(message, event.window)


def _status(message: pb.TaskEvent, event: ev.Event, task: Task) -> None:
    message.status = task.state.value


def _thought(message: pb.TaskEvent, event: ev.ThoughtAdded, task: Task) -> None:
    message.reasoning = event.reasoning


def _text(message: pb.TaskEvent, event: ev.TextAdded, task: Task) -> None:
    message.text = event.text


def _called(message: pb.TaskEvent, event: ev.ToolCalled, task: Task) -> None:
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.tool_version = event.tool_version
    structs.from_dict(event.input, message.input)
    if event.turn is not None:
        _turn(message, event.turn)


def _delegated(message: pb.TaskEvent, event: ev.ChildStarted, task: Task) -> None:
    message.tool_call_id = event.call_id
    message.child_task_id = event.child_task_id


def _child_changed(message: pb.TaskEvent, event: ev.ChildChanged, task: Task) -> None:
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.child_task_id = event.child_task_id
    message.status = (State.WAITING if event.wants else State.RUNNING).value
    if event.wants:
        message.wants = event.wants


def _returned(message: pb.TaskEvent, event: ev.ToolReturned, task: Task) -> None:
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.tool_version = event.tool_version
    message.latency_ms = event.latency_ms
    if event.tokens:
        message.tokens_used = event.tokens
    if event.cost_usd:
        message.cost_usd = event.cost_usd
    message.status = "success" if event.failure is None else "error"
    if isinstance(event.output, Large):
        excerpt = event.output.excerpt
        message.reference.CopyFrom(mapping_large.reference(event.output, excerpt=excerpt))
    elif event.failure is None:
        structs.from_value(event.output, message.output)
    else:
        message.error.CopyFrom(mapping.error(event.failure))
    if event.content:
        toolcalls.set_content(message, event.content)


def _asked(message: pb.TaskEvent, event: ev.ApprovalAsked, task: Task) -> None:
    message.tool_call_id = event.call_id
    message.tool_name = event.tool


def _decided(message: pb.TaskEvent, event: ev.ApprovalDecided, task: Task) -> None:
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.approved = event.is_approved
    message.author = event.author
    if event.comment:
        message.comment = event.comment


def _steered(message: pb.TaskEvent, event: ev.Steered, task: Task) -> None:
    message.text = event.text
    message.author = event.author
    if event.key:
        message.idempotency_key = event.key


def _waited(message: pb.TaskEvent, event: ev.Waited, task: Task) -> None:
    message.status = task.state.value
    message.wants = event.wants
    structs.set_time(message.deadline, event.until)
    if event.turn is not None:
        _turn(message, event.turn)


def _answered(message: pb.TaskEvent, event: ev.Answered, task: Task) -> None:
    message.answer = event.answer
    if isinstance(event.output, Large):
        message.reference.CopyFrom(mapping_large.reference(event.output))
    else:
        structs.from_value(event.output, message.output)
    if event.turn is not None:
        _turn(message, event.turn)


def _abandoned(message: pb.TaskEvent, event: ev.StepAbandoned, task: Task) -> None:
    message.error.CopyFrom(mapping.error(event.failure))
    _turn(message, event.turn)


def _warned(message: pb.TaskEvent, event: ev.Warned, task: Task) -> None:
    message.warning.code = event.code
    message.warning.message = event.message


def _model_changed(message: pb.TaskEvent, event: ev.ModelChanged, task: Task) -> None:
    error = None if event.failure is None else mapping.error(event.failure)
    message.model_change.CopyFrom(routing.change(event, error))


def _end(message: pb.TaskEvent, event: ev.Completed | ev.Failed | ev.Canceled, task: Task) -> None:
    message.event_type = END
    message.status = task.state.value
    message.chunks.extend(mapping.chunks(task))
    message.metrics.CopyFrom(mapping.metrics(task))
    message.metadata.CopyFrom(mapping.metadata(task))
    message.warnings.extend(mapping.warnings(task))
    if isinstance(event, ev.Failed):
        message.error.CopyFrom(mapping.error(event.failure))
    if isinstance(event, ev.Canceled) and event.reason:
        message.comment = event.reason
    if not isinstance(event, ev.Completed) and event.turn is not None:
        _turn(message, event.turn)


def _turn(message: pb.TaskEvent, turn: ev.Turn) -> None:
    message.usage.prompt_tokens = turn.prompt_tokens
    message.usage.completion_tokens = turn.completion_tokens
    message.usage.cached_tokens = turn.cached_tokens
    message.usage.total_tokens = turn.tokens + turn.saved_tokens
    message.duration_ms = turn.duration_ms
    if turn.cost_usd:
        message.cost_usd = turn.cost_usd
    if turn.is_cached:
        message.cached = True
    if turn.time_to_first_token_ms is not None:
        message.time_to_first_token_ms = turn.time_to_first_token_ms


_WRITE: Final[dict[type[ev.Event], Callable[[pb.TaskEvent, Any, Task], None]]] = {
    ev.Queued: _start,
    ev.Started: _start,
    ev.Claimed: _claimed,
    ev.ThoughtAdded: _thought,
    ev.TextAdded: _text,
    ev.ToolCalled: _called,
    ev.ChildStarted: _delegated,
    ev.ChildChanged: _child_changed,
    ev.ToolProgressed: toolcalls.progressed,
    ev.ToolLogged: toolcalls.logged,
    ev.ToolReturned: _returned,
    ev.ApprovalAsked: _asked,
    ev.ApprovalDecided: _decided,
    ev.InputAsked: toolcalls.asked,
    ev.InputReceived: toolcalls.given,
    ev.InputGiven: toolcalls.given,
    ev.Steered: _steered,
    ev.Waited: _waited,
    ev.Resumed: _status,
    ev.Answered: _answered,
    ev.StepAbandoned: _abandoned,
    ev.Warned: _warned,
    ev.ModelChanged: _model_changed,
    ev.Completed: _end,
    ev.Failed: _end,
    ev.Canceled: _end,
}


@dataclass(frozen=True, slots=True)
class Where:
    """What an event's message does not say."""

    time: datetime
    tenant: str


def _step(message: pb.TaskEvent) -> tuple[int, int]:
    return int(message.step_id.removeprefix("step_")), message.attempt


def _turn_of(message: pb.TaskEvent) -> ev.Turn | None:
    return _read_turn(message) if message.HasField("usage") else None


def _read_turn(message: pb.TaskEvent) -> ev.Turn:
    usage: usage_pb2.Usage = message.usage
    has_first = message.HasField("time_to_first_token_ms")
    return ev.Turn(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        duration_ms=message.duration_ms,
        time_to_first_token_ms=message.time_to_first_token_ms if has_first else None,
        cost_usd=message.cost_usd,
        is_cached=message.cached,
    )


def _read_error(message: pb.TaskError) -> ev.Failure:
    return ev.Failure(
        message.grpc_status,
        message.error_code,
        message.message,
        message.suggested_fix,
        message.retry_after_ms if message.HasField("retry_after_ms") else None,
        message.domain,
    )


def _read_model_changed(message: pb.TaskEvent, stored: Where) -> ev.Event:
    changed = message.model_change
    failure = _read_error(changed.error) if changed.HasField("error") else None
    models = (changed.from_model, changed.model, changed.model_version)
    return ev.ModelChanged(stored.time, *models, failure)


def _read_called(message: pb.TaskEvent, stored: Where) -> ev.Event:
    return ev.ToolCalled(
        stored.time,
        *_step(message),
        message.tool_call_id,
        message.tool_name,
        message.tool_version,
        structs.to_dict(message.input),
        _turn_of(message),
    )


def _read_delegated(message: pb.TaskEvent, stored: Where) -> ev.Event:
    child = message.child_task_id
    return ev.ChildStarted(stored.time, *_step(message), message.tool_call_id, child)


def _read_returned(message: pb.TaskEvent, stored: Where) -> ev.Event:
    return ev.ToolReturned(
        stored.time,
        *_step(message),
        message.tool_call_id,
        message.tool_name,
        message.tool_version,
        _read_output(message),
        _read_error(message.error) if message.HasField("error") else None,
        message.latency_ms,
        message.tokens_used,
        message.cost_usd,
        toolcalls.content(message),
    )


def _read_answered(message: pb.TaskEvent, stored: Where) -> ev.Event:
    output = _read_output(message)
    return ev.Answered(stored.time, *_step(message), message.answer, output, _turn_of(message))


def _read_output(message: pb.TaskEvent) -> object:
    """A value, or what stands for it; None if there is neither."""
    if message.HasField("reference"):
        has_excerpt = message.reference.HasField("excerpt")
        excerpt = message.reference.excerpt if has_excerpt else message.answer
        return mapping_large.large(message.reference, excerpt=excerpt)
    return structs.to_value(message.output) if message.HasField("output") else None


def _read_abandoned(message: pb.TaskEvent, stored: Where) -> ev.Event:
    failure = _read_error(message.error)
    return ev.StepAbandoned(stored.time, *_step(message), failure, _read_turn(message))


_READ: Final[dict[str, Callable[[pb.TaskEvent, Where], ev.Event]]] = {
    "task.queued.v1": lambda m, s: ev.Queued(s.time, mapping.spec(m, s.tenant)),
    "task.started.v1": lambda m, s: ev.Started(
        s.time, mapping.spec(m, s.tenant), sessions.window(m)
    ),
    "task.claimed.v1": lambda m, s: ev.Claimed(s.time, sessions.window(m)),
    "task.thought_added.v1": lambda m, s: ev.ThoughtAdded(s.time, *_step(m), m.reasoning),
    "task.text_added.v1": lambda m, s: ev.TextAdded(s.time, *_step(m), m.text),
    "task.tool_called.v1": _read_called,
    "task.child_started.v1": _read_delegated,
    "task.child_changed.v1": lambda m, s: ev.ChildChanged(
        s.time, *_step(m), m.tool_call_id, m.tool_name, m.child_task_id, m.wants
    ),
    "task.tool_progressed.v1": lambda m, s: toolcalls.read_progressed(m, s.time, _step(m)),
    "task.tool_logged.v1": lambda m, s: ev.ToolLogged(
        s.time, *_step(m), m.tool_call_id, m.tool_name, m.level, m.message
    ),
    "task.tool_returned.v1": _read_returned,
    "task.approval_asked.v1": lambda m, s: ev.ApprovalAsked(
        s.time, *_step(m), m.tool_call_id, m.tool_name
    ),
    "task.approval_decided.v1": lambda m, s: ev.ApprovalDecided(
        s.time, *_step(m), m.tool_call_id, m.tool_name, m.approved, m.comment, m.author
    ),
    "task.input_asked.v1": lambda m, s: toolcalls.read_asked(m, s.time, _step(m)),
    "task.input_received.v1": lambda m, s: toolcalls.read_given(
        m, s.time, _step(m), ev.InputReceived
    ),
    "task.input_given.v1": lambda m, s: toolcalls.read_given(m, s.time, _step(m), ev.InputGiven),
    "task.steered.v1": lambda m, s: ev.Steered(s.time, m.text, m.author, m.idempotency_key),
    "task.waited.v1": lambda m, s: ev.Waited(
        s.time, m.wants, m.deadline.ToDatetime(UTC), _turn_of(m)
    ),
    "task.resumed.v1": lambda m, s: ev.Resumed(s.time),
    "task.answered.v1": _read_answered,
    "task.step_abandoned.v1": _read_abandoned,
    "task.warned.v1": lambda m, s: ev.Warned(s.time, m.warning.code, m.warning.message),
    "task.model_changed.v1": _read_model_changed,
    "task.completed.v1": lambda m, s: ev.Completed(s.time),
    "task.failed.v1": lambda m, s: ev.Failed(s.time, _read_error(m.error), _turn_of(m)),
    "task.canceled.v1": lambda m, s: ev.Canceled(s.time, m.comment, _turn_of(m)),
}
