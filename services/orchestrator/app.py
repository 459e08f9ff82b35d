"""The composition root."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from runplane.orchestrator.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
    usage_pb2,
    usage_pb2_grpc,
)
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis import ids
from services.chassis.client import channel
from services.chassis.eventlog.open import event_store_of
from services.chassis.eventlog.port import EventStore
from services.chassis.hotstore.open import hot_store
from services.chassis.hotstore.port import HotStore
from services.chassis.metrics import Metrics
from services.chassis.objectstore.open import object_store
from services.chassis.paging import Pager
from services.chassis.sealing import Seal
from services.chassis.server import Running, serving
from services.chassis.settings import SharedSettings
from services.orchestrator import metrics
from services.orchestrator.adapters.agentstore import EventStoreAgents
from services.orchestrator.adapters.answers import Answers
from services.orchestrator.adapters.answers import Bounds as CacheBounds
from services.orchestrator.adapters.arrival import arrival_of
from services.orchestrator.adapters.cached_models import CachedModels
from services.orchestrator.adapters.desk import at_desk
from services.orchestrator.adapters.inference_grpc import GrpcModels
from services.orchestrator.adapters.ledger import EventStoreLedger
from services.orchestrator.adapters.quotastore import EventStoreQuotas
from services.orchestrator.adapters.replicas import replicas_of
from services.orchestrator.adapters.routes import routes_of
from services.orchestrator.adapters.schemas import CompiledSchemas
from services.orchestrator.adapters.sessionstore import EventStoreSessions
from services.orchestrator.adapters.spans import TracedTaskLog
from services.orchestrator.adapters.statuses import HotStatuses
from services.orchestrator.adapters.tools_grpc import GrpcTools
from services.orchestrator.adapters.values import Values
from services.orchestrator.budget import Budget
from services.orchestrator.domain.quota import Period, Quota, Scope
from services.orchestrator.domain.request import Texts
from services.orchestrator.marks import Marks
from services.orchestrator.memory import Memory
from services.orchestrator.places import Places
from services.orchestrator.post import Post
from services.orchestrator.rpc.agents import AgentServicer
from services.orchestrator.rpc.sessions import SessionServicer
from services.orchestrator.rpc.tasks import Cases, OrchestratorServicer
from services.orchestrator.rpc.usage import UsageServicer
from services.orchestrator.settings import QuotaSettings, Settings
from services.orchestrator.usecases.agents import Agents
from services.orchestrator.usecases.children import ChildTasks
from services.orchestrator.usecases.objects import Objects
from services.orchestrator.usecases.sessions import Sessions
from services.orchestrator.usecases.talks import Talks
from services.orchestrator.usecases.tasks import Bounds, Tasks
from services.orchestrator.usecases.usage import Usages
from services.orchestrator.worker import Sizes, Worker, on_duty, working
from services.orchestrator.world import World, utc_now

SERVICES = [
    pb.DESCRIPTOR.services_by_name["OrchestratorService"].full_name,
    agents_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name,
    sessions_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name,
    usage_pb2.DESCRIPTOR.services_by_name["UsageService"].full_name,
]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the servicers are made of."""

    world: World
    sessions: EventStoreSessions
    tasks: Tasks
    post: Post
    statuses: HotStatuses
    worker: Worker
    metrics: Metrics


@asynccontextmanager
async def running(
    settings: Settings, shared: SharedSettings, *, now: Callable[[], datetime] = utc_now
) -> AsyncIterator[Running]:
    """Run the orchestrator until the context is left.

    Raises:
        FailedPrecondition: `ROUTES_INVALID`; the file of routes cannot be used.
    """
    page_key = bytes.fromhex(shared.page_token_key.get_secret_value())
    async with _at_work(settings, shared, now) as parts:
        world, tasks = parts.world, parts.tasks
        of_tasks = OrchestratorServicer(
            Cases(tasks, Talks(tasks, parts.post), Objects(tasks, world.log), parts.statuses),
            settings.tasks,
            Pager(page_key, "tasks"),
        )
        agents = Agents(world.briefings, world.schemas, now)
        of_agents = AgentServicer(agents, Pager(page_key, "agents"))
        of_sessions = SessionServicer(
            Sessions(world, parts.sessions, tasks.end),
            Pager(page_key, "sessions"),
            Pager(page_key, "messages"),
        )
        of_usage = UsageServicer(
            Usages(world.budget.quotas, world.budget.ledger, now),
            Pager(page_key, "usage"),
            Pager(page_key, "quotas"),
        )
        async with serving(
            settings.server,
            domain="orchestrator.runplane.dev",
            register=[
                partial(pb_grpc.add_OrchestratorServiceServicer_to_server, of_tasks),
                partial(agents_pb2_grpc.add_AgentServiceServicer_to_server, of_agents),
                partial(sessions_pb2_grpc.add_SessionServiceServicer_to_server, of_sessions),
                partial(usage_pb2_grpc.add_UsageServiceServicer_to_server, of_usage),
            ],
            services=SERVICES,
            metrics=parts.metrics,
        ) as server:
            try:
                yield server
            finally:
                parts.worker.drain()


@asynccontextmanager
async def _at_work(
    settings: Settings, shared: SharedSettings, now: Callable[[], datetime]
) -> AsyncIterator[_Parts]:
    """Stores, peers and the worker, which takes up tasks from here on."""
    tasks, ttl, routes = settings.tasks, settings.catalogue_ttl, routes_of(settings.routes)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(event_store_of(shared, "orchestrator"))
        hot = await enter(hot_store(shared.hot_store))
        values = await enter(_values(shared, tasks.inline_bytes))
        inference = await enter(channel(settings.inference))
        replicas = await enter(replicas_of(settings.inference, settings.balance))
        registry = await enter(channel(settings.tool_registry))
        owner, lease = ids.new("worker"), tasks.lease
        desk = await enter(at_desk(store, hot, owner=owner, lease=lease))
        sizes = Sizes(tasks.max_running, tasks.max_queued, lease / 4, tasks.look)
        worker = await enter(working(desk, sizes))
        task_log = TracedTaskLog(store, hot, owner=owner, lease=lease, values=values)
        answers = _answers(hot, settings, now)
        asked = GrpcModels(inference, replicas, timeout=settings.inference.timeout, ttl=ttl)
        models = CachedModels(asked, answers, worker.spawn, is_on=settings.cache.enabled)
        sessions = EventStoreSessions(store)
        world = World(
            log=task_log,
            models=models,
            tools=GrpcTools(registry, timeout=settings.tool_registry.timeout, ttl=ttl),
            schemas=CompiledSchemas(),
            now=now,
            spawn=worker.spawn,
            agents=EventStoreAgents(store),
            children=ChildTasks(worker, desk, lambda: (world, cases)),
            memory=Memory(sessions, models, now, share=settings.sessions.history_share),
            places=Places(sessions, task_log, now),
            budget=_budget(store, settings, now),
            max_wait=tasks.max_wait,
            linger=tasks.linger,
            routes=routes,
            traced=task_log.spans.running,
        )
        marks = Marks(Seal(bytes.fromhex(settings.mark_key.get_secret_value())), now)
        cases = Tasks(world, worker, desk, marks, _bounds(settings, shared))
        await enter(on_duty(worker, world, arrival_of(settings.inference)))
        measured = Metrics(metrics.of_worker(worker, tasks.max_running))
        measured.add(*metrics.of_cache(answers.counts))
        measured.add(*metrics.of_routing(world.seen, replicas.loads))
        measured.show(*task_log.measures.all(), *asked.measures.all(), *store.measures.all())
        post = Post(world, worker, desk)
        yield _Parts(world, sessions, cases, post, HotStatuses(hot), worker, measured)


def _answers(hot: HotStore, settings: Settings, now: Callable[[], datetime]) -> Answers:
    cache = settings.cache
    return Answers(hot, CacheBounds(cache.near_bytes, cache.most_bytes, cache.ttl), now)


def _budget(store: EventStore, settings: Settings, now: Callable[[], datetime]) -> Budget:
    quotas = EventStoreQuotas(store, _declared(settings.quotas), ttl=settings.catalogue_ttl)
    return Budget(quotas, EventStoreLedger(store), now)


def _declared(quotas: Sequence[QuotaSettings]) -> list[Quota]:
    return [
        Quota(
            each.quota_id,
            Scope(each.scope),
            "",
            Period(each.period),
            each.tokens,
            each.cost_usd,
            is_declared=True,
        )
        for each in quotas
    ]


def _bounds(settings: Settings, shared: SharedSettings) -> Bounds:
    tasks = settings.tasks
    bounds = Bounds(tasks.max_query_bytes, tasks.default_steps, tasks.duration)
    if shared.object_store is None:
        return bounds
    return replace(bounds, large=Texts(tasks.inline_bytes, tasks.max_text_bytes))


@asynccontextmanager
async def _values(shared: SharedSettings, inline_bytes: int) -> AsyncIterator[Values]:
    """Where large values go, if they go anywhere."""
    if shared.object_store is None:
        yield Values(None, inline_bytes)
        return
    async with object_store(shared.object_store, shared.aws) as store:
        yield Values(store, inline_bytes)
