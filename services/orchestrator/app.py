"""The composition root."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial

from runplane.orchestrator.v1 import agents_pb2, agents_pb2_grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.client import channel
from services.chassis.eventlog.open import event_store
from services.chassis.hotstore.open import hot_store
from services.chassis.objectstore.open import object_store
from services.chassis.paging import Pager
from services.chassis.sealing import Seal
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.orchestrator.adapters.agentstore import EventStoreAgents
from services.orchestrator.adapters.desk import at_desk
from services.orchestrator.adapters.inference_grpc import GrpcModels
from services.orchestrator.adapters.schemas import CompiledSchemas
from services.orchestrator.adapters.tasklog import EventStoreTaskLog
from services.orchestrator.adapters.tools_grpc import GrpcTools
from services.orchestrator.adapters.values import Values
from services.orchestrator.domain.request import Texts
from services.orchestrator.marks import Marks
from services.orchestrator.post import Post
from services.orchestrator.rpc.agents import AgentServicer
from services.orchestrator.rpc.tasks import Cases, OrchestratorServicer
from services.orchestrator.run import World, utc_now
from services.orchestrator.settings import Settings
from services.orchestrator.usecases.agents import Agents
from services.orchestrator.usecases.children import ChildTasks
from services.orchestrator.usecases.objects import Objects
from services.orchestrator.usecases.talks import Talks
from services.orchestrator.usecases.tasks import Bounds, Tasks
from services.orchestrator.worker import Sizes, on_duty, working

SERVICES = [
    pb.DESCRIPTOR.services_by_name["OrchestratorService"].full_name,
    agents_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name,
]


@asynccontextmanager
async def running(
    settings: Settings, shared: SharedSettings, *, now: Callable[[], datetime] = utc_now
) -> AsyncIterator[Running]:
    """Run the orchestrator until the context is left."""
    tasks, ttl = settings.tasks, settings.catalogue_ttl
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            event_store(shared.event_store, service="orchestrator")
        )
        hot = await stack.enter_async_context(hot_store(shared.hot_store))
        values = await stack.enter_async_context(_values(shared, tasks.inline_bytes))
        inference = await stack.enter_async_context(channel(settings.inference))
        registry = await stack.enter_async_context(channel(settings.tool_registry))
        owner, lease = ids.new("worker"), tasks.lease
        desk = await stack.enter_async_context(at_desk(store, hot, owner=owner, lease=lease))
        sizes = Sizes(tasks.max_running, tasks.max_queued, lease / 4, tasks.look)
        worker = await stack.enter_async_context(working(desk, sizes))
        children = ChildTasks(worker, desk, lambda: (world, cases))
        world = World(
            log=EventStoreTaskLog(store, hot, owner=owner, lease=lease, values=values),
            models=GrpcModels(inference, timeout=settings.inference.timeout, ttl=ttl),
            tools=GrpcTools(registry, timeout=settings.tool_registry.timeout, ttl=ttl),
            schemas=CompiledSchemas(),
            now=now,
            spawn=worker.spawn,
            agents=EventStoreAgents(store),
            children=children,
            max_wait=tasks.max_wait,
        )
        page_key = bytes.fromhex(shared.page_token_key.get_secret_value())
        agents = Agents(world.briefings, world.schemas, now)
        bounds = Bounds(tasks.max_query_bytes, tasks.default_steps, tasks.duration)
        if shared.object_store is not None:
            bounds = replace(bounds, large=Texts(tasks.inline_bytes, tasks.max_text_bytes))
        marks = Marks(Seal(bytes.fromhex(settings.mark_key.get_secret_value())), now)
        await stack.enter_async_context(on_duty(worker, world))
        cases = Tasks(world, worker, desk, marks, bounds)
        servicer = OrchestratorServicer(
            Cases(cases, Talks(cases, Post(world, worker, desk)), Objects(cases, world.log)),
            tasks,
            Pager(page_key, "tasks"),
        )
        agent_servicer = AgentServicer(agents, Pager(page_key, "agents"))
        yield await stack.enter_async_context(
            serving(
                settings.server,
                domain="orchestrator.runplane.dev",
                register=[
                    partial(pb_grpc.add_OrchestratorServiceServicer_to_server, servicer),
                    partial(agents_pb2_grpc.add_AgentServiceServicer_to_server, agent_servicer),
                ],
                services=SERVICES,
            )
        )


@asynccontextmanager
async def _values(shared: SharedSettings, inline_bytes: int) -> AsyncIterator[Values]:
    """Where large values go, if they go anywhere."""
    if shared.object_store is None:
        yield Values(None, inline_bytes)
        return
    async with object_store(shared.object_store, shared.aws) as store:
        yield Values(store, inline_bytes)
