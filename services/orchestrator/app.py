"""The composition root."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial

from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from runplane.orchestrator.v1 import sessions_pb2, sessions_pb2_grpc

from services.chassis import ids
from services.chassis.client import channel
from services.chassis.eventlog.open import event_store
from services.chassis.hotstore.open import hot_store
from services.chassis.paging import Pager
from services.chassis.sealing import Seal
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.orchestrator.adapters.desk import at_desk
from services.orchestrator.adapters.inference_grpc import GrpcModels
from services.orchestrator.adapters.schemas import CompiledSchemas
from services.orchestrator.adapters.sessionstore import EventStoreSessions
from services.orchestrator.adapters.tasklog import EventStoreTaskLog
from services.orchestrator.adapters.tools_grpc import GrpcTools
from services.orchestrator.marks import Marks
from services.orchestrator.memory import Memory
from services.orchestrator.rpc.sessions import SessionServicer
from services.orchestrator.rpc.tasks import OrchestratorServicer
from services.orchestrator.run import World, utc_now
from services.orchestrator.settings import Settings
from services.orchestrator.turns import Turns
from services.orchestrator.usecases.sessions import Sessions
from services.orchestrator.usecases.tasks import Bounds, Tasks
from services.orchestrator.worker import Sizes, on_duty, working

SERVICE = pb.DESCRIPTOR.services_by_name["OrchestratorService"].full_name
SESSIONS = sessions_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name


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
        inference = await stack.enter_async_context(channel(settings.inference))
        registry = await stack.enter_async_context(channel(settings.tool_registry))
        owner, lease = ids.new("worker"), tasks.lease
        desk = await stack.enter_async_context(at_desk(store, hot, owner=owner, lease=lease))
        sizes = Sizes(tasks.max_running, tasks.max_queued, lease / 4, tasks.look)
        worker = await stack.enter_async_context(working(desk, sizes))
        log = EventStoreTaskLog(store, hot, owner=owner, lease=lease)
        models = GrpcModels(inference, timeout=settings.inference.timeout, ttl=ttl)
        sessions = EventStoreSessions(store)
        world = World(
            log=log,
            models=models,
            tools=GrpcTools(registry, timeout=settings.tool_registry.timeout, ttl=ttl),
            schemas=CompiledSchemas(),
            now=now,
            spawn=worker.spawn,
            memory=Memory(sessions, models, now, share=settings.sessions.history_share),
            turns=Turns(sessions, log, now),
        )
        key = bytes.fromhex(shared.page_token_key.get_secret_value())
        bounds = Bounds(tasks.max_query_bytes, tasks.default_steps, tasks.duration)
        marks = Marks(Seal(bytes.fromhex(settings.mark_key.get_secret_value())), now)
        await stack.enter_async_context(on_duty(worker, world))
        started = Tasks(world, worker, desk, marks, bounds)
        servicer = OrchestratorServicer(started, tasks, Pager(key, "tasks"))
        talks = SessionServicer(
            Sessions(world, sessions, started.end), Pager(key, "sessions"), Pager(key, "messages")
        )
        yield await stack.enter_async_context(
            serving(
                settings.server,
                domain="orchestrator.runplane.dev",
                register=[
                    partial(pb_grpc.add_OrchestratorServiceServicer_to_server, servicer),
                    partial(sessions_pb2_grpc.add_SessionServiceServicer_to_server, talks),
                ],
                services=[SERVICE, SESSIONS],
            )
        )
