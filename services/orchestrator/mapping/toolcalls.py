"""A task's tools and its calls under way, protobuf to domain and back. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis import structs
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.large import Large
from services.orchestrator.domain.task import CHILD, Task
from services.orchestrator.mapping import large

At = tuple[int, int]


def call_spec(message: pb.InvokeRequest) -> ev.CallSpec | None:
    """The call that a request asks for instead of a query."""
    if not message.HasField("call"):
        return None
    call = message.call
    able = None
    if call.HasField("capabilities"):
        able = structs.to_dict(call.capabilities, field="call.capabilities")
    given = structs.to_dict(call.input, field="call.input")
    asked = None
    if call.HasField("input_requests"):
        asked = structs.to_dict(call.input_requests, field="call.input_requests")
    return ev.CallSpec(call.tool, call.version.strip(), given, able, asked, call.request_state)


def set_call(message: pb.Task, spec: ev.Spec) -> None:
    """Which tool a task is a call of."""
    if spec.call is not None:
        versions = dict(spec.pinned.versions) if spec.pinned else {}
        message.call.tool = spec.call.tool
        message.call.version = versions.get(spec.call.tool, spec.call.version)


def set_pending(message: pb.Task, found: Task) -> None:
    """What its calls wait for."""
    for call in found.pending:
        pending = message.pending_requests.add(
            tool_call_id=call.call_id, tool_name=call.tool, wants=call.wants
        )
        if call.wants == "input" and call.requests is not None:
            structs.from_dict(call.unanswered, pending.input_requests, field="input_requests")
            pending.round = call.rounds
        else:
            pending.input.SetInParent()
            structs.from_dict(call.input, pending.input, field="input")
        if call.wants == CHILD:
            pending.child_task_id = call.child_task_id


def set_tools(message: pb.TaskEvent, pinned: ev.Pinned | None) -> None:
    """Which tools a task has."""
    if pinned is not None:
        message.tools.CopyFrom(_tools(pinned))


@lru_cache(256)
def _tools(pinned: ev.Pinned) -> pb.TaskTools:
    """Most tasks of a tenant have the same."""
    each = (pb.TaskTool(name=name, version=version) for name, version in pinned.versions)
    return pb.TaskTools(tools=each, left_out=pinned.left_out)


def tools(message: pb.TaskEvent) -> ev.Pinned | None:
    """The same; None in a log that does not say."""
    if not message.HasField("tools"):
        return None
    versions = tuple((tool.name, tool.version) for tool in message.tools.tools)
    return ev.Pinned(versions, message.tools.left_out)


def set_content(message: pb.TaskEvent, of: Sequence[Mapping[str, object]] | Large) -> None:
    """Content blocks, or where they are."""
    if isinstance(of, Large):
        message.content_reference.CopyFrom(large.reference(of))
        return
    for block in of:
        structs.from_dict(block, message.content.add(), field="content")


def content(message: pb.TaskEvent) -> Sequence[Mapping[str, object]] | Large:
    """The same."""
    if message.HasField("content_reference"):
        return large.large(message.content_reference, excerpt="")
    return tuple(structs.to_dict(block) for block in message.content)


def progressed(message: pb.TaskEvent, event: ev.ToolProgressed, task: Task) -> None:
    """How far a tool is."""
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.progress = event.progress
    if event.total is not None:
        message.total = event.total
    if event.message:
        message.message = event.message


def read_progressed(message: pb.TaskEvent, time: datetime, at: At) -> ev.ToolProgressed:
    """The same."""
    total = message.total if message.HasField("total") else None
    said = (message.progress, total, message.message)
    return ev.ToolProgressed(time, at[0], at[1], message.tool_call_id, message.tool_name, *said)


def logged(message: pb.TaskEvent, event: ev.ToolLogged, task: Task) -> None:
    """What a tool says."""
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.level = event.level
    message.message = event.message


def asked(message: pb.TaskEvent, event: ev.InputAsked, task: Task) -> None:
    """What a tool, or whoever runs it, is waited for."""
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    if event.requests is not None:
        message.input_requests.SetInParent()
        structs.from_dict(event.requests, message.input_requests, field="input_requests")
    if event.state:
        message.request_state = event.state


def read_asked(message: pb.TaskEvent, time: datetime, at: At) -> ev.InputAsked:
    """The same."""
    has_requests = message.HasField("input_requests")
    requests = structs.to_dict(message.input_requests) if has_requests else None
    call = (message.tool_call_id, message.tool_name)
    return ev.InputAsked(time, at[0], at[1], *call, requests, message.request_state)


def given(message: pb.TaskEvent, event: ev.InputGiven | ev.InputReceived, task: Task) -> None:
    """What a tool was answered."""
    message.tool_call_id = event.call_id
    message.tool_name = event.tool
    message.input_responses.SetInParent()
    structs.from_dict(event.responses, message.input_responses, field="input_responses")
    message.author = event.author


def read_given(
    message: pb.TaskEvent,
    time: datetime,
    at: At,
    kind: type[ev.InputGiven] | type[ev.InputReceived],
) -> ev.InputGiven | ev.InputReceived:
    """The same."""
    responses = structs.to_dict(message.input_responses)
    call = (message.tool_call_id, message.tool_name)
    return kind(time, at[0], at[1], *call, responses, message.author)
