"""What a run acts on, as far as its tests need it: everything a test decides, and no sockets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.errors import NotFound, ServiceError
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Claim, Key
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.objectstore.memory import MemoryObjectStore
from services.chassis.sealing import Seal
from services.chassis.telling import Logged, Progress
from services.orchestrator.adapters.agentstore import EventStoreAgents
from services.orchestrator.adapters.desk import EventStoreDesk, at_desk
from services.orchestrator.adapters.ledger import EventStoreLedger
from services.orchestrator.adapters.quotastore import EventStoreQuotas
from services.orchestrator.adapters.schemas import CompiledSchemas
from services.orchestrator.adapters.sessionstore import EventStoreSessions
from services.orchestrator.adapters.tasklog import EventStoreTaskLog
from services.orchestrator.adapters.values import Values
from services.orchestrator.budget import Budget
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.catalogue import Catalogue, catalogue
from services.orchestrator.domain.request import Request
from services.orchestrator.domain.routing import Route
from services.orchestrator.domain.task import Task
from services.orchestrator.domain.tool import Tool
from services.orchestrator.equipment import Equipment
from services.orchestrator.marks import Marks
from services.orchestrator.memory import Memory
from services.orchestrator.places import Places
from services.orchestrator.ports import Generation, Model, Models, Piece
from services.orchestrator.run import Run
from services.orchestrator.seen import Seen
from services.orchestrator.toolports import Invocation, Returned
from services.orchestrator.usecases.children import ChildTasks
from services.orchestrator.usecases.tasks import Bounds, Caller, Tasks
from services.orchestrator.worker import Sizes, Worker, working
from services.orchestrator.world import World
from tests.conftest import FakeClock

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)  # As `FakeClock` begins.
OWNER: Final = "worker_1"
LEASE: Final = timedelta(seconds=8)
MODEL: Final = Model("fake", "1", 4096, 512)
TURN: Final = ev.Turn(prompt_tokens=10, completion_tokens=5)
SPEC: Final = ev.Spec(
    task_id="task_1",
    tenant="default",
    owner="local",
    session_id="session_1",
    trace_id="a" * 32,
    query="Hello",
    history=(),
    model=MODEL.name,
    model_version=MODEL.version,
    tools=(),
    has_tools=True,
    response_schema=None,
    sampling=ev.Sampling(),
    limits=ev.Limits(8),
    survives_disconnect=False,
    pauses_at_deadline=False,
    client_tools=(),
    approval_tools=(),
    labels={},
    deadline=NOW + timedelta(seconds=30),
    request=pb.InvokeRequest(query="Hello", limits=pb.TaskLimits(steps=8)).SerializeToString(),
)
REQUEST: Final = Request(
    query="Hello",
    messages=(),
    model="",
    tools=(),
    tool_choice="",
    response_schema=None,
    sampling=ev.Sampling(),
    timeout_ms=None,
    steps=None,
    tokens=None,
    cost_usd=None,
    duration_ms=None,
    on_disconnect="",
    on_deadline="",
    client_tools=(),
    approval_tools=(),
    labels={},
    idempotency_key="",
    fingerprint="",
    source=SPEC.request,
)

Line = str | ServiceError | asyncio.Event
"""Of a turn: a piece of it, what it fails with, or what it waits for."""


def tool(name: str = "look", *, is_idempotent: bool = True) -> Tool:
    """A tool of this name."""
    return Tool(name, "1.0.0", "Looks.", {"type": "object"}, (), 1000, is_idempotent)


async def pass_time(seconds: float) -> None:
    """Let the loop's own time pass: here it leaps."""
    await asyncio.sleep(seconds)


@dataclass
class FakeModels:
    """Says its turns one after the other, and the last one again."""

    turns: Sequence[Sequence[Line]] = (("Hello",),)
    prompt_tokens: int = 10
    """What it counts, and the words of a prefix."""
    model: Model = MODEL
    finish_reason: str = "stop"
    asked: list[Generation] = field(default_factory=list)
    said: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a turn has come to where it waits."""
    closes_after: asyncio.Event | None = None
    """What closing a turn waits for."""
    others: Sequence[Model] = ()
    """Models beside the default one."""
    hung_up: list[str] = field(default_factory=list)
    """Whose turns ended, however they did."""

    async def known(self) -> Mapping[str, Model]:
        """See `Models`."""
        return {"": self.model} | {each.name: each for each in (self.model, *self.others)}

    async def resolve(self, name: str) -> Model:
        """See `Models`."""
        if (found := (await self.known()).get(name)) is None:
            raise NotFound("MODEL_NOT_FOUND", f"there is no model {name}")
        return found

    async def count_tokens(
        self, model: str, messages: Sequence[ev.Message], prefix: str = ""
    ) -> int:
        """See `Models`."""
        return self.prompt_tokens + len(prefix.split())

    async def generate(
        self, generation: Generation, *, timeout: float
    ) -> AsyncGenerator[Piece, None]:
        """See `Models`."""
        turn = self.turns[min(len(self.asked), len(self.turns) - 1)]
        self.asked.append(generation)
        try:
            for line in turn:
                if isinstance(line, ServiceError):
                    raise line
                if isinstance(line, str):
                    yield Piece(line)
                else:
                    self.said.set()
                    await line.wait()
            yield Piece("", self.finish_reason, TURN)
        finally:
            self.hung_up.append(generation.model)
            if self.closes_after is not None:
                await self.closes_after.wait()


@dataclass
class FakeTools:
    """Has these tools; calls come to these ends one after the other, then each gives nothing."""

    known: Sequence[Tool] = ()
    ends: Sequence[Returned | ServiceError] = ()
    older: Sequence[Tool] = ()
    """Versions that are not the newest."""
    says: Sequence[Progress | Logged] = ()
    """Of each call, before its end."""
    called: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)

    async def catalogue(self, tenant: str) -> Catalogue:
        """See `Tools`."""
        return catalogue(self.known)

    async def find(self, tenant: str, name: str, version: str = "") -> Tool:
        """See `Tools`. It knows no ranges."""
        for each in (*self.known, *self.older):
            if each.name == name and version in ("", each.version):
                return each
        raise NotFound("TOOL_NOT_FOUND", f"there is no {name} {version}")

    async def call(self, invocation: Invocation) -> Returned:
        """See `Tools`."""
        self.called.append((invocation.tool.name, invocation.input))
        self.timeouts.append(invocation.timeout)
        self.invocations.append(invocation)
        for said in self.says:
            invocation.report(said)
            await asyncio.sleep(0)
        number = len(self.called)
        end = self.ends[number - 1] if number <= len(self.ends) else Returned({}, None, 1.0)
        if isinstance(end, ServiceError):
            raise end
        return end


class SlowLog(EventStoreTaskLog):
    """The log in memory as it is, but for its appends: they suspend, and can be held or refused."""

    def __init__(self, beside: "SlowLog | None" = None) -> None:
        self.owner = f"{beside.owner}_beside" if beside else OWNER
        self.store = beside.store if beside else MemoryEventStore()
        self.hot = beside.hot if beside else MemoryHotStore()
        values = Values(MemoryObjectStore(), inline_bytes=64 * 1024)
        super().__init__(self.store, self.hot, owner=self.owner, lease=LEASE, values=values)
        self.events: list[ev.Event] = []
        """What was appended."""
        self.ended: list[str] = []
        """Tasks, in the order of their ends."""
        self.refuses: type[object] = type(None)
        self.refusal: Exception = RuntimeError("refused")
        self.holds: type[object] = type(None)
        self.holds_parking = False
        self.holding = asyncio.Event()
        self.let_go = asyncio.Event()

    async def begin(self, event: ev.Queued | ev.Started, key: Key | None) -> tuple[Task, Claim]:
        """See `TaskLog`."""
        await self._hesitate([event])
        begun = await super().begin(event, key)
        self.events.append(event)
        return begun

    async def append(
        self,
        task: Task,
        events: Sequence[ev.Event],
        claim: Claim,
        *,
        answered: Sequence[int] = (),
        stored: Callable[[Task], None] | None = None,
    ) -> Task:
        """See `TaskLog`."""
        await self._hesitate(events)
        appended = await super().append(task, events, claim, answered=answered, stored=stored)
        self.events.extend(events)
        if appended.is_closed:
            self.ended.append(appended.spec.task_id)
        return appended

    async def park(self, task: Task, claim: Claim, *, delay: timedelta) -> None:
        """See `TaskLog`."""
        if self.holds_parking:
            self.holding.set()
            await self.let_go.wait()
        await super().park(task, claim, delay=delay)

    async def _hesitate(self, events: Sequence[ev.Event]) -> None:
        await asyncio.sleep(0)
        if any(isinstance(event, self.holds) for event in events):
            self.holding.set()
            await self.let_go.wait()
        if any(isinstance(event, self.refuses) for event in events):
            raise self.refusal

    def kinds(self) -> list[str]:
        """What happened, by name."""
        return [type(event).__name__ for event in self.events]


@dataclass
class Bench:
    """Fakes put together, and a worker that runs tasks on them."""

    worker: Worker
    models: FakeModels
    tools: FakeTools
    log: SlowLog
    desk: EventStoreDesk
    clock: FakeClock = field(default_factory=FakeClock)
    routes: Mapping[str, Route] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    before: Models | None = None
    """What stands before its models."""

    @property
    def world(self) -> World:
        """What runs act on."""
        memory = Memory(self.sessions, self.models, self.clock)
        return World(
            self.log,
            self.before or self.models,
            self.tools,
            CompiledSchemas(),
            self.clock,
            self.worker.spawn,
            EventStoreAgents(self.log.store),
            ChildTasks(self.worker, self.desk, lambda: (self.world, self.tasks)),
            memory,
            Places(self.sessions, self.log, self.clock),
            self.budget,
            routes=self.routes,
            seen=self.seen,
        )

    @property
    def budget(self) -> Budget:
        """Quotas, and what is counted, in the store that the tasks are in."""
        store = self.log.store
        quotas = EventStoreQuotas(store, (), ttl=timedelta(0))
        return Budget(quotas, EventStoreLedger(store), self.clock)

    @property
    def sessions(self) -> EventStoreSessions:
        """Sessions, in the store that the tasks are in."""
        return EventStoreSessions(self.log.store)

    @property
    def tasks(self) -> Tasks:
        """The use cases."""
        marks = Marks(Seal(bytes(32)), self.clock)
        bounds = Bounds(max_query_bytes=1000, default_steps=8, duration=timedelta(seconds=20))
        return Tasks(self.world, self.worker, self.desk, marks, bounds)

    def now(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    async def submit(self, spec: ev.Spec = SPEC, **changes: Any) -> Run:
        """A task, given to the worker."""
        given = {each.name: each for each in self.tools.known}
        spec = replace(spec, **changes)
        return await self.worker.submit(self.world, spec, Equipment(MODEL, given))

    async def ended(self, spec: ev.Spec = SPEC, **changes: Any) -> Task:
        """A task, once it has ended."""
        run = await self.submit(spec, **changes)
        return await end_of(run)


async def end_of(run: Run) -> Task:
    """What has become of a task."""
    async with asyncio.timeout(5):
        await run.done.wait()
    return run.task


@asynccontextmanager
async def bench(
    *turns: Sequence[Line],
    tools: FakeTools | None = None,
    max_running: int = 4,
    max_queued: int = 4,
    beside: SlowLog | None = None,
) -> AsyncIterator[Bench]:
    """Fakes that a worker runs on, with a model that says these turns. No wait is longer than 60 s,
    which leap. With `beside`, it shares the stores of another worker."""
    log = SlowLog(beside)
    sizes = Sizes(max_running, max_queued, heartbeat=LEASE / 4, look=timedelta(seconds=1))
    async with (
        asyncio.timeout(60),
        at_desk(log.store, log.hot, owner=log.owner, lease=LEASE) as desk,
        working(desk, sizes) as worker,
    ):
        models = FakeModels(turns) if turns else FakeModels()
        yield Bench(worker, models, tools or FakeTools(), log, desk)


def caller(*, time_left: timedelta | None = None) -> Caller:
    """Someone who waits so long."""
    return Caller("default", "local", "a" * 32, time_left)
