"""A workflow service with all that it works with, and words for what tests do with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import agents_pb2_grpc, orchestrator_pb2_grpc
from runplane.workflow.v1 import definitions_pb2 as dpb
from runplane.workflow.v1 import definitions_pb2_grpc, events_pb2, workflow_pb2_grpc
from runplane.workflow.v1 import workflow_pb2 as pb

from services.chassis.eventbus.aliases import AliasedEventBus
from services.chassis.settings import ClientSettings, ServerSettings, SharedSettings
from services.inference.app import running as inference_running
from services.inference.settings import Settings as InferenceSettings
from services.orchestrator.app import running as orchestrator_running
from services.orchestrator.settings import Settings as OrchestratorSettings
from services.tool_registry.app import running as tool_registry_running
from services.tool_registry.settings import Settings as ToolRegistrySettings
from services.workflow.app import running
from services.workflow.settings import DefinitionSettings, EventSettings, Settings
from tests.integration.workflow.office import Office

LOOPBACK = ServerSettings(listen="127.0.0.1:0", admin="127.0.0.1:0", grace=1)
SHARED = SharedSettings(page_token_key="00" * 32)
SECONDS = 20

DOCUMENTS = """
name: document_processing
state_machine:
  draft:   {transitions: [review, publish]}
  review:  {transitions: [approved, rejected], validator: approver}
  publish: {transitions: [indexed]}
event_source: kafka://events/document-events
"""
"""As product.md has it."""


@dataclass(frozen=True)
class World:
    """A running service as its clients see it."""

    workflows: "workflow_pb2_grpc.WorkflowServiceAsyncStub"
    definitions: "definitions_pb2_grpc.DefinitionServiceAsyncStub"
    agents: "agents_pb2_grpc.AgentServiceAsyncStub"
    tasks: "orchestrator_pb2_grpc.OrchestratorServiceAsyncStub"
    office: Office
    address: str
    orchestrator: str
    """Its address."""

    async def define(self, yaml: str, **metadata: str) -> dpb.Definition:
        """Store a definition."""
        request = dpb.CreateDefinitionRequest(yaml=yaml)
        return await self.definitions.CreateDefinition(
            request, timeout=SECONDS, metadata=pairs(metadata)
        )

    async def start(
        self, definition: str, data: Mapping[str, Any] | None = None, **fields: Any
    ) -> pb.Workflow:
        """Start a workflow."""
        metadata = pairs(fields.pop("metadata", {}))
        request = pb.StartWorkflowRequest(definition=definition, data=struct(data or {}), **fields)
        return await self.workflows.StartWorkflow(request, timeout=SECONDS, metadata=metadata)

    async def run(
        self, yaml: str, data: Mapping[str, Any] | None = None, **fields: Any
    ) -> pb.Workflow:
        """Store a definition and start a workflow of it."""
        definition = await self.define(yaml)
        return await self.start(definition.name, data, **fields)

    async def signal(self, workflow: pb.Workflow | str, **fields: Any) -> pb.Workflow:
        """Tell a workflow something."""
        payload = struct(fields.pop("payload", {}))
        request = pb.SignalWorkflowRequest(workflow_id=id_of(workflow), payload=payload, **fields)
        return await self.workflows.SignalWorkflow(request, timeout=SECONDS)

    async def approve(self, workflow: pb.Workflow | str, **fields: Any) -> pb.Workflow:
        """Decide for it."""
        payload = struct(fields.pop("payload", {}))
        request = pb.ApproveTransitionRequest(
            workflow_id=id_of(workflow), payload=payload, **fields
        )
        return await self.workflows.ApproveTransition(request, timeout=SECONDS)

    async def reject(self, workflow: pb.Workflow | str, **fields: Any) -> pb.Workflow:
        """Decide against it."""
        request = pb.RejectTransitionRequest(workflow_id=id_of(workflow), **fields)
        return await self.workflows.RejectTransition(request, timeout=SECONDS)

    async def cancel(self, workflow: pb.Workflow | str, reason: str = "") -> pb.Workflow:
        """End it."""
        request = pb.CancelWorkflowRequest(workflow_id=id_of(workflow), reason=reason)
        return await self.workflows.CancelWorkflow(request, timeout=SECONDS)

    async def compensate(self, workflow: pb.Workflow | str, reason: str = "") -> pb.Workflow:
        """Undo what it did."""
        request = pb.CompensateWorkflowRequest(workflow_id=id_of(workflow), reason=reason)
        return await self.workflows.CompensateWorkflow(request, timeout=SECONDS)

    async def get(self, workflow: pb.Workflow | str) -> pb.Workflow:
        """As it stands."""
        request = pb.GetWorkflowRequest(workflow_id=id_of(workflow))
        return await self.workflows.GetWorkflow(request, timeout=SECONDS)

    async def events(
        self, workflow: pb.Workflow | str, **fields: Any
    ) -> pb.ListWorkflowEventsResponse:
        """A page of its log."""
        request = pb.ListWorkflowEventsRequest(workflow_id=id_of(workflow), **fields)
        return await self.workflows.ListWorkflowEvents(request, timeout=SECONDS)

    def watch(
        self, workflow: pb.Workflow | str, after: int = 0
    ) -> AsyncIterator[events_pb2.WorkflowEvent]:
        """Its log, as it goes on."""
        request = pb.WatchWorkflowRequest(workflow_id=id_of(workflow), after_sequence=after)
        return self.workflows.WatchWorkflow(request, timeout=SECONDS)

    async def log(self, workflow: pb.Workflow | str) -> list[events_pb2.WorkflowEvent]:
        """All of its log, once it has ended."""
        return [event async for event in self.watch(workflow)]

    async def ended(self, workflow: pb.Workflow | str) -> pb.Workflow:
        """The workflow, once it has ended."""
        await self.log(workflow)
        return await self.get(workflow)

    async def met(self, workflow: pb.Workflow | str, kind: str) -> events_pb2.WorkflowEvent:
        """The first event of a kind, once it is there."""
        async for event in self.watch(workflow):
            if kind in {event.type, event.next_state}:
                return event
        raise AssertionError(f"it ended without {kind}")


@asynccontextmanager
async def started(
    shared: SharedSettings = SHARED,
    *,
    bus: AliasedEventBus | None = None,
    events: EventSettings | None = None,
    definitions: DefinitionSettings | None = None,
    office: Office | None = None,
) -> AsyncIterator[World]:
    """A suite of real services in this process."""
    tools = office or Office()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        models = InferenceSettings(engine="echo", server=LOOPBACK)
        inference = await enter(inference_running(models, SHARED))
        of_tools = ToolRegistrySettings(server=LOOPBACK)
        registry = await enter(tool_registry_running(of_tools, SHARED, more=[tools.tool()]))
        of_tasks = OrchestratorSettings(
            server=LOOPBACK,
            mark_key="11" * 32,
            inference=ClientSettings(target=inference.address),
            tool_registry=ClientSettings(target=registry.address),
        )
        orchestrator = await enter(orchestrator_running(of_tasks, SHARED))
        settings = Settings(
            server=LOOPBACK,
            tool_registry=ClientSettings(target=registry.address),
            orchestrator=ClientSettings(target=orchestrator.address),
            events=events or EventSettings(),
            definitions=definitions or DefinitionSettings(),
        )
        workflow = await enter(running(settings, shared, bus=bus))
        yield await _seen(stack, workflow.address, orchestrator.address, tools)


async def _seen(stack: AsyncExitStack, address: str, agents: str, office: Office) -> World:
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
    beside = await stack.enter_async_context(grpc.aio.insecure_channel(agents))
    return World(
        workflow_pb2_grpc.WorkflowServiceStub(channel),
        definitions_pb2_grpc.DefinitionServiceStub(channel),
        agents_pb2_grpc.AgentServiceStub(beside),
        orchestrator_pb2_grpc.OrchestratorServiceStub(beside),
        office,
        address,
        agents,
    )


def id_of(workflow: pb.Workflow | str) -> str:
    return workflow if isinstance(workflow, str) else workflow.workflow_id


def struct(value: Mapping[str, Any]) -> Struct:
    return ParseDict(dict(value), Struct())


def plain(message: Any) -> Any:
    """A message as JSON."""
    return MessageToDict(message, preserving_proto_field_name=True)


def pairs(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in metadata.items())


def kinds(events: Any) -> list[str]:
    """The types of events."""
    return [event.type for event in events]


@dataclass(frozen=True)
class Refusal:
    """How an RPC failed."""

    code: str
    reason: str
    metadata: Mapping[str, str]
    violations: list[BadRequest.FieldViolation]
    has_retry: bool

    @property
    def what(self) -> tuple[str, str]:
        """Code and reason."""
        return self.code, self.reason


async def refused(call: Awaitable[object]) -> Refusal:
    """How a call fails, which it has to."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(SECONDS):
            await call
    status = rpc_status.from_call(caught.value)
    assert status is not None, caught.value
    info, bad, retry = ErrorInfo(), BadRequest(), False
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        retry = retry or detail.Is(RetryInfo.DESCRIPTOR)
    assert info.domain == "workflow.runplane.dev"
    return Refusal(
        caught.value.code().name,
        info.reason,
        dict(info.metadata),
        list(bad.field_violations),
        retry,
    )
