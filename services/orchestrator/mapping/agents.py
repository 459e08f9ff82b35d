"""Protobuf to agents and back. Pure."""

from collections.abc import Sequence
from datetime import UTC
from typing import Final

from runplane.orchestrator.v1 import agents_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2

from services.chassis import structs
from services.chassis.filtering import Fields
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.agent import FIELDS, Agent, Limits
from services.orchestrator.domain.request import MAX_LABELS, MAX_TOOLS
from services.orchestrator.mapping.sampling import read_sampling, sampling

FILTERED: Final = Fields({"agent_id", "owner", "model", "create_time", "update_time"}, ("labels.",))
MAX_MASK: Final = 32


def agent(message: pb.Agent) -> Agent:
    """An agent as it was sent or stored.

    Raises:
        InvalidArgument: `INVALID_REQUEST`; the schema holds what JSON does not.
    """
    has_schema = message.HasField("response_schema")
    schema = structs.to_dict(message.response_schema, field="response_schema")
    return Agent(
        agent_id=message.agent_id,
        version=message.version,
        owner=message.owner,
        create_time=message.create_time.ToDatetime(UTC),
        update_time=message.update_time.ToDatetime(UTC),
        description=message.description,
        instructions=message.instructions,
        model=message.model,
        tools=tuple(message.tools[: MAX_TOOLS + 1]),
        tool_choice=message.tool_choice,
        limits=_limits(message.limits),
        response_schema=schema if has_schema else None,
        sampling=read_sampling(message.sampling),
        labels=dict(list(message.labels.items())[: MAX_LABELS + 1]),
        approval_tools=tuple(message.approval_tools[: MAX_TOOLS + 1]),
        request_class=message.request_class,
    )


def message(of: Agent) -> pb.Agent:
    """The resource."""
    made = listed(of)
    made.instructions = of.instructions
    if of.response_schema is not None:
        made.response_schema.SetInParent()
        structs.from_dict(of.response_schema, made.response_schema)
    return made


def listed(of: Agent) -> pb.Agent:
    """What lists show of it: all but what is long."""
    made = pb.Agent(
        agent_id=of.agent_id,
        version=of.version,
        owner=of.owner,
        description=of.description,
        model=of.model,
        tools=of.tools,
        tool_choice=of.tool_choice,
        labels=of.labels,
        approval_tools=of.approval_tools,
        request_class=of.request_class,
    )
    if of.limits != Limits():
        made.limits.CopyFrom(limits(of.limits, of.limits.duration_ms))
    if of.sampling != ev.Sampling():
        made.sampling.CopyFrom(sampling(of.sampling))
    structs.set_time(made.create_time, of.create_time)
    structs.set_time(made.update_time, of.update_time)
    return made


def mask(request: pb.UpdateAgentRequest) -> Sequence[str]:
    """Which fields an update replaces."""
    if request.update_mask:
        return tuple(request.update_mask[:MAX_MASK])
    return [field.name for field, _ in request.agent.ListFields() if field.name in FIELDS]


def record_terms(spec: ev.Spec, start: orchestrator_pb2.TaskEvent) -> None:
    """What a task runs with, in place of what its request left to its agent."""
    start.agent_id, start.agent_version = spec.agent_id, spec.agent_version
    terms = start.request
    terms.agent_id, terms.model = spec.agent_id, spec.model
    if spec.parent_task_id:
        start.parent_task_id, start.depth = spec.parent_task_id, spec.depth
        terms.query, terms.on_disconnect = spec.query, "continue"
    del terms.tools[:]
    terms.tools.extend(spec.tools)
    del terms.approval_tools[:]
    terms.approval_tools.extend(spec.approval_tools)
    terms.tool_choice = "auto" if spec.has_tools else "none"
    terms.limits.MergeFrom(limits(spec.limits, None))
    terms.sampling.CopyFrom(sampling(spec.sampling))
    if spec.response_schema is not None:
        terms.response_schema.Clear()
        terms.response_schema.SetInParent()
        structs.from_dict(spec.response_schema, terms.response_schema)


def limits(of: Limits | ev.Limits, duration_ms: float | None) -> orchestrator_pb2.TaskLimits:
    """What a task may use."""
    return orchestrator_pb2.TaskLimits(
        steps=of.steps, tokens=of.tokens, cost_usd=of.cost_usd, duration_ms=duration_ms
    )


def _limits(said: orchestrator_pb2.TaskLimits) -> Limits:
    return Limits(
        steps=said.steps if said.HasField("steps") else None,
        tokens=said.tokens if said.HasField("tokens") else None,
        cost_usd=said.cost_usd if said.HasField("cost_usd") else None,
        duration_ms=said.duration_ms if said.HasField("duration_ms") else None,
    )
