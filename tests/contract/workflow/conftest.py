"""Logs of workflows over each event store."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore, Key, Work
from services.chassis.hotstore.memory import MemoryHotStore
from services.workflow.adapters.definitionstore import EventStoreDefinitions
from services.workflow.adapters.histories import EventStoreHistories
from services.workflow.adapters.publications import Publications
from services.workflow.adapters.workflowlog import KIND, EventStoreWorkflows, Outlets
from services.workflow.domain import decide, outcomes
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Definition
from services.workflow.domain.instance import Standing
from services.workflow.domain.language import outcome
from services.workflow.domain.outcomes import Outcome
from services.workflow.domain.steps import Run, Undo, next_step
from services.workflow.ports import Appended, Loaded
from services.workflow.usecases.verification import Verifications
from tests.conftest import FakeClock
from tests.contract.workflow.tampering import OfMemory, OfPostgres, OfSqlite, Tampering
from tests.servers.postgres import Postgres
from tests.servers.postgres import postgres as postgres_server

LEASE = timedelta(seconds=8)
TEXT = """
name: order
initial: charging
state_machine:
  charging:
    on_enter: [{tool: charge, save_as: payment, compensation: {tool: refund}}]
    on_success: review
    on_failure: failed
  review: {transitions: [done, failed, review], timeout: {after: 1h, target: failed}}
  done: {terminal: success}
  failed: {terminal: failure}
"""


class Idle:
    """Hands that take nothing; see `Hands`."""

    has_room = False

    def take(self, appended: Appended) -> None:
        """Leave it."""


@dataclass
class Place:
    """A store, and a service's view of it."""

    store: EventStore
    tampering: Tampering
    clock: FakeClock
    owner: str = "worker_1"
    hot: MemoryHotStore = field(default_factory=MemoryHotStore)

    def __post_init__(self) -> None:
        self.definitions = EventStoreDefinitions(self.store, self.clock, most=3, most_versions=3)
        self.logs = EventStoreWorkflows(
            self.store,
            Outlets(self.hot, Publications(Backlog(1000), "json")),
            self.definitions,
            work=Work(KIND, self.owner, LEASE),
            now=self.clock,
        )
        self.histories = EventStoreHistories(self.store)
        self.verifications = Verifications(
            self.histories, self.logs, self.definitions, Idle(), now=self.clock
        )

    def elsewhere(self, owner: str = "worker_2") -> "Place":
        """The same store as another process sees it."""
        return replace(self, owner=owner, hot=MemoryHotStore())

    async def defined(self, tenant: str = "acme", text: str = TEXT) -> Definition:
        """A definition, stored."""
        definition = outcome(text).definition
        assert definition is not None
        return await self.definitions.add(tenant, "ann", definition)

    async def begun(
        self,
        workflow_id: str = "wf_1",
        *,
        tenant: str = "acme",
        takes: bool = False,
        key: Key | None = None,
    ) -> Appended:
        """A workflow that is to charge."""
        definition = await self.defined(tenant)
        spec = ev.Spec(workflow_id, tenant, "ann", "order", 1, "o1", "ab" * 16, labels={"a": "b"})
        decided = decide.started(definition, spec, {"amount": 12}, self.clock())
        return await self.logs.begin(definition, decided, takes=takes, key=key)

    async def reviewed(self, workflow_id: str = "wf_1", *, tenant: str = "acme") -> Appended:
        """One that has charged, and waits for a signal."""
        begun = await self.begun(workflow_id, tenant=tenant)
        return await self.logs.append(begun.loaded, self.acted(begun.loaded))

    def at(self, loaded: Loaded) -> Standing:
        """As it stands now."""
        return Standing(loaded.definition, loaded.instance, self.clock())

    def acted(self, loaded: Loaded, what: Outcome | None = None) -> Decided:
        """What is decided once its action is done."""
        at = self.at(loaded)
        step = next_step(at)
        what = what or outcomes.Succeeded({"id": "p1"}, 2.0)
        if isinstance(step, Undo):
            return outcomes.undone(at, step, what, chance=0.5)
        assert isinstance(step, Run)
        return outcomes.acted(at, step, what, chance=0.5)

    def signalled(self, loaded: Loaded, target: str, **payload: object) -> Decided:
        """What is decided of a signal."""
        return decide.signalled(self.at(loaded), ev.Signal(target=target, payload=payload))


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with postgres_server() as running:
        yield running


Opened = tuple[str, Callable[[EventStore, str], Tampering]]


@pytest.fixture
def memory() -> Opened:
    """The in-process store."""

    def tampering(store: EventStore, _: str) -> Tampering:
        assert isinstance(store, MemoryEventStore)
        return OfMemory(store)

    return "memory:", tampering


@pytest.fixture
def sqlite(tmp_path: Path) -> Opened:
    """A SQLite store."""
    return f"sqlite:///{tmp_path}", lambda _, name: OfSqlite(str(tmp_path / f"{name}.db"))


@pytest.fixture
def postgres(server: Postgres) -> Opened:
    """A PostgreSQL store."""
    return server.url, lambda _, name: OfPostgres(server.url, name)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Place]:
    """An empty store of each kind, on a clock that the test moves."""
    url, tampering = request.getfixturevalue(request.param)
    name = f"test_{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(event_store(url, service=name, now=clock))
        yield Place(store, tampering(store, name), clock)
