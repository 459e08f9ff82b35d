"""The composition root."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from runplane.workflow.v1 import (
    definitions_pb2,
    definitions_pb2_grpc,
    workflow_pb2,
    workflow_pb2_grpc,
)

from services.chassis import ids
from services.chassis.client import channel
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Work
from services.chassis.hotstore.open import hot_store
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.workflow.adapters.agents_grpc import GrpcAgents
from services.workflow.adapters.definitionstore import EventStoreDefinitions
from services.workflow.adapters.desk import at_desk
from services.workflow.adapters.histories import EventStoreHistories
from services.workflow.adapters.tools_grpc import GrpcTools
from services.workflow.adapters.workflowlog import KIND, LINGER, EventStoreWorkflows, Outlets
from services.workflow.domain.definition import Kind
from services.workflow.effects import Effects
from services.workflow.execution import World
from services.workflow.ports import Actions
from services.workflow.rpc.definitions import DefinitionServicer
from services.workflow.rpc.workflows import WorkflowServicer
from services.workflow.settings import Settings
from services.workflow.usecases.children import ChildWorkflows
from services.workflow.usecases.definitions import Definitions
from services.workflow.usecases.verification import Verifications
from services.workflow.usecases.workflows import Workflows
from services.workflow.worker import Sizes, working

DOMAIN: Final = "workflow.runplane.dev"
SERVICES: Final = [
    definitions_pb2.DESCRIPTOR.services_by_name["DefinitionService"].full_name,
    workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"].full_name,
]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@asynccontextmanager
async def running(
    settings: Settings, shared: SharedSettings, *, now: Callable[[], datetime] = utc_now
) -> AsyncIterator[Running]:
    """Run the workflow service until the context is left."""
    pager = partial(Pager, bytes.fromhex(shared.page_token_key.get_secret_value()))
    async with _at_work(settings, shared, now) as (definitions, workflows, verifications):
        of_definitions = DefinitionServicer(Definitions(definitions), pager("definitions"))
        pagers = (pager("workflows"), pager("workflow_events"))
        of_workflows = WorkflowServicer(workflows, verifications, pagers)
        async with serving(
            settings.server,
            domain=DOMAIN,
            register=[
                partial(
                    definitions_pb2_grpc.add_DefinitionServiceServicer_to_server, of_definitions
                ),
                partial(workflow_pb2_grpc.add_WorkflowServiceServicer_to_server, of_workflows),
            ],
            services=SERVICES,
        ) as server:
            yield server


@asynccontextmanager
async def _at_work(
    settings: Settings, shared: SharedSettings, now: Callable[[], datetime]
) -> AsyncIterator[tuple[EventStoreDefinitions, Workflows, Verifications]]:
    """Stores, peers and the worker, which takes up workflows from here on."""
    owner, lease = ids.new("worker"), settings.worker.lease
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(event_store(shared.event_store, service="workflow"))
        hot = await enter(hot_store(shared.hot_store))
        registry = await enter(channel(settings.tool_registry))
        orchestrator = await enter(channel(settings.orchestrator))
        limits = settings.definitions
        definitions = EventStoreDefinitions(
            store, now, most=limits.most, most_versions=limits.versions
        )
        logs = EventStoreWorkflows(
            store,
            Outlets(hot, lambda definition, new: ()),
            definitions,
            work=Work(KIND, owner, lease),
            now=now,
        )
        agents = GrpcAgents(orchestrator, timeout=settings.orchestrator.timeout)
        actions: dict[Kind, Actions] = {Kind.TOOL: GrpcTools(registry), Kind.AGENT: agents}
        effects = Effects(actions, ChildWorkflows(lambda: workflows), random.random)
        desk = await enter(at_desk(store, hot, owner=owner, lease=lease))
        sizes = Sizes(settings.worker.max_running, lease / 4, settings.worker.look)
        worker = await enter(working(desk, World(logs, effects, now, LINGER), sizes))
        workflows = Workflows(logs, definitions, worker, now=now, new_id=partial(ids.new, "wf"))
        histories = EventStoreHistories(store)
        verifications = Verifications(histories, logs, definitions, worker, now=now)
        yield definitions, workflows, verifications
