"""The composition root."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from services.chassis.errors import Violation, invalid
from services.chassis.eventbus.aliases import AliasedEventBus, aliased_event_bus
from services.chassis.eventbus.inbound import Inbound
from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.open import event_store_of
from services.chassis.eventlog.port import EventStore, Work
from services.chassis.eventlog.relay import relaying
from services.chassis.hotstore.open import hot_store
from services.chassis.metrics import Metrics
from services.chassis.paging import Pager
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.workflow import metrics
from services.workflow.adapters.agents_grpc import GrpcAgents
from services.workflow.adapters.definitionstore import EventStoreDefinitions
from services.workflow.adapters.desk import at_desk
from services.workflow.adapters.happenings import EventStoreHappenings, handler
from services.workflow.adapters.histories import EventStoreHistories
from services.workflow.adapters.publications import Publications, topic_of
from services.workflow.adapters.spans import TracedWorkflows
from services.workflow.adapters.tools_grpc import GrpcTools
from services.workflow.adapters.turns import EventStoreTurn
from services.workflow.adapters.workflowlog import KIND, LINGER, Outlets
from services.workflow.domain.definition import Kind, Source
from services.workflow.effects import Effects
from services.workflow.execution import World
from services.workflow.ports import Actions
from services.workflow.rpc.definitions import DefinitionServicer
from services.workflow.rpc.workflows import WorkflowServicer
from services.workflow.settings import Settings, VerifySettings
from services.workflow.usecases.children import ChildWorkflows
from services.workflow.usecases.definitions import Definitions
from services.workflow.usecases.happenings import Happenings
from services.workflow.usecases.verification import Verifications
from services.workflow.usecases.workflows import Workflows
from services.workflow.verifier import Pace, Verifier, verifying
from services.workflow.worker import Sizes, working

DOMAIN: Final = "workflow.runplane.dev"
SERVICES: Final = [
    definitions_pb2.DESCRIPTOR.services_by_name["DefinitionService"].full_name,
    workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"].full_name,
]


GROUP: Final = "runplane-workflow"
"""Of consumers of what comes in: each event reaches one replica."""
JOIN_SECONDS: Final = 15.0
STOP_SECONDS: Final = 1.0
VERIFY: Final = "verify"
SPARE: Final = timedelta(seconds=10)
"""For a verifier that is late."""


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the servicers are made of."""

    definitions: Definitions
    workflows: Workflows
    happenings: Happenings
    verifications: Verifications
    metrics: Metrics


@asynccontextmanager
async def running(
    settings: Settings,
    shared: SharedSettings,
    *,
    now: Callable[[], datetime] = utc_now,
    bus: AliasedEventBus | None = None,
) -> AsyncIterator[Running]:
    """Run the workflow service until the context is left, on the event bus that settings name, or
    on another."""
    pager = partial(Pager, bytes.fromhex(shared.page_token_key.get_secret_value()))
    async with (
        _event_bus(shared, bus) as events,
        _at_work(settings, shared, events, now) as parts,
    ):
        of_definitions = DefinitionServicer(parts.definitions, pager("definitions"))
        pagers = (pager("workflows"), pager("workflow_events"))
        of_workflows = WorkflowServicer(
            parts.workflows, parts.happenings, parts.verifications, pagers
        )
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
            metrics=parts.metrics,
        ) as server:
            yield server


@asynccontextmanager
async def _at_work(
    settings: Settings, shared: SharedSettings, bus: AliasedEventBus, now: Callable[[], datetime]
) -> AsyncIterator[_Parts]:
    """Stores, peers, the worker, which takes up workflows from here on, and the bus's two ends."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(event_store_of(shared, "workflow"))
        hot = await enter(hot_store(shared.hot_store))
        owner, lease = ids.new("worker"), settings.worker.lease
        backlog = Backlog(settings.events.most_per_partition)
        limits = settings.definitions
        definitions = EventStoreDefinitions(
            store, now, most=limits.most, most_versions=limits.versions
        )
        outlets = Outlets(hot, Publications(backlog, settings.events.format))
        work = Work(KIND, owner, lease)
        logs = TracedWorkflows(store, outlets, definitions, work=work, now=now)
        spans = logs.spans
        actions = await enter(_actions(settings))
        effects = Effects(actions, ChildWorkflows(lambda: workflows), random.random)
        desk = await enter(at_desk(store, hot, owner=owner, lease=lease))
        sizes = Sizes(settings.worker.max_running, lease / 4, settings.worker.look)
        worker = await enter(working(desk, World(logs, effects, now, LINGER, spans.running), sizes))
        new_id = partial(ids.new, "wf")
        workflows = Workflows(logs, definitions, worker, now=now, new_id=new_id)
        topic = settings.events.inbound
        kept = EventStoreHappenings(store, backlog, topic, now, lambda: inbound.lag)
        happenings = Happenings(kept, workflows, logs, partial(ids.new, "evt"))
        inbound = Inbound(bus, topic, GROUP, handler(happenings))
        await enter(_on_the_bus(bus, inbound, store, backlog))
        check_source = _checks(bus, topic)
        histories = EventStoreHistories(store)
        verifications = Verifications(histories, logs, definitions, worker, now=now)
        measured = Metrics(
            [
                *metrics.of_events(backlog, inbound),
                *metrics.of_worker(worker, settings.worker.max_running),
            ]
        )
        measured.show(*logs.measures.all(), *store.measures.all())
        await enter(_verifying(settings.verify, store, verifications, measured))
        created = Definitions(definitions, check_source)
        yield _Parts(created, workflows, happenings, verifications, measured)


@asynccontextmanager
async def _verifying(
    settings: VerifySettings,
    store: EventStore,
    verifications: Verifications,
    measured: Metrics,
) -> AsyncIterator[None]:
    """Hold workflows against their events, until the context is left."""
    if not settings.interval:
        yield
        return
    pace = Pace(**dict(settings))
    lease = 3 * pace.interval + SPARE
    turn = EventStoreTurn(store, VERIFY, owner=ids.new("verifier"), lease=lease)
    verifier = Verifier(turn, EventStoreHistories(store), verifications, pace)
    measured.add(*metrics.of_verification(verifier.counts))
    async with verifying(verifier):
        yield


@asynccontextmanager
async def _actions(settings: Settings) -> AsyncIterator[Mapping[Kind, Actions]]:
    """Who does actions of each kind out there."""
    async with (
        channel(settings.tool_registry) as registry,
        channel(settings.orchestrator) as orchestrator,
    ):
        agents = GrpcAgents(orchestrator, timeout=settings.orchestrator.timeout)
        yield {Kind.TOOL: GrpcTools(registry), Kind.AGENT: agents}


@asynccontextmanager
async def _event_bus(
    shared: SharedSettings, given: AliasedEventBus | None
) -> AsyncIterator[AliasedEventBus]:
    if given is not None:
        yield given
        return
    kafka = shared.kafka
    async with aliased_event_bus(
        shared.event_bus,
        shared.event_buses,
        username=kafka.username,
        password=kafka.password.get_secret_value(),
    ) as bus:
        yield bus


def _checks(bus: AliasedEventBus, inbound: str) -> Callable[[Source], None]:
    """What a workflow publishes must not come back to it as a signal: it would go on for ever."""

    def check(source: Source) -> None:
        if topic_of(source) == inbound:
            said = f"is {source}, from where events are signalled to workflows"
            violation = Violation("event_source", said, "use a topic of its own")
            raise invalid(violation, reason="DEFINITION_INVALID")
        bus.check(topic_of(source))

    return check


@asynccontextmanager
async def _on_the_bus(
    bus: AliasedEventBus, inbound: Inbound, store: EventStore, backlog: Backlog
) -> AsyncIterator[None]:
    """Hand on what comes in, and tell what is in the outbox, until the context is left."""
    async with asyncio.TaskGroup() as group:
        handing = group.create_task(inbound.run())
        telling = group.create_task(_told(bus, inbound, store, backlog))
        try:
            yield
        finally:
            inbound.stop()
            telling.cancel()
            await asyncio.wait([handing], timeout=STOP_SECONDS)
            handing.cancel()


async def _told(
    bus: AliasedEventBus, inbound: Inbound, store: EventStore, backlog: Backlog
) -> None:
    """Tell the bus, until cancelled. A new group hears only what is said after it has joined, so
    events from outside wait for that; but not for ever, for there are other topics."""
    with suppress(TimeoutError):
        async with asyncio.timeout(JOIN_SECONDS):
            await inbound.joined.wait()
    async with relaying(store, bus, backlog, owner=ids.new("relay")):
        await asyncio.Event().wait()
