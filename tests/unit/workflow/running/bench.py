"""Processes of the workflow service that share a store."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

from services.workflow.domain import events as ev
from services.workflow.domain.definition import Definition, Kind
from services.workflow.effects import Effects
from services.workflow.execution import World
from services.workflow.ports import DefinitionStore, WorkflowLog
from services.workflow.usecases.children import ChildWorkflows
from services.workflow.usecases.workflows import Caller, Once, Start, Workflows
from services.workflow.worker import Sizes, Worker, working
from tests.unit.workflow.flow import defined
from tests.unit.workflow.running.fakes import (
    LEASE,
    LINGER,
    FakeDefinitions,
    FakeDesk,
    FakeLogs,
    FakePeers,
    FakeStore,
    Script,
    now,
)

ANN: Final = Caller("default", "ann", "trace")
HEARTBEAT: Final = LEASE / 4
LOOK: Final = timedelta(milliseconds=500)


@dataclass
class Process:
    """One replica."""

    store: FakeStore
    peers: FakePeers
    desk: FakeDesk
    logs: FakeLogs
    worker: Worker
    children: ChildWorkflows
    workflows: Workflows

    async def start(self, definition: str = "d", **data: object) -> str:
        """Start a workflow: its id."""
        at = await self.workflows.start(Start(definition, data=data), ANN, Once())
        return at.instance.spec.workflow_id

    async def signal(self, workflow_id: str, target: str) -> None:
        """Name a state to go to."""
        signal = ev.Signal(target=target, by="ann")
        await self.workflows.signal(ANN, workflow_id, signal, "", Once())

    async def cancel(self, workflow_id: str) -> None:
        """End it."""
        await self.workflows.cancel(ANN, workflow_id, "enough")


@dataclass
class Bench:
    """What processes share."""

    definitions: list[Definition]
    peers: FakePeers
    store: FakeStore = field(default_factory=FakeStore)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def process(
        self,
        owner: str = "w1",
        *,
        max_running: int = 10,
        clock: Callable[[], datetime] = now,
    ) -> AsyncIterator[Process]:
        """A replica, until the context is left."""
        logs, desk = FakeLogs(self.store, owner), FakeDesk(self.store, owner)
        held: list[Workflows] = []
        children = ChildWorkflows(lambda: held[0])
        effects = Effects({Kind.TOOL: self.peers, Kind.AGENT: self.peers}, children, lambda: 0.0)
        log = cast("WorkflowLog", logs)
        sizes = Sizes(max_running, HEARTBEAT, LOOK)
        async with working(desk, World(log, effects, clock, LINGER), sizes) as worker:
            definitions = cast("DefinitionStore", FakeDefinitions(self.definitions))
            held.append(
                Workflows(log, definitions, worker, now=now, new_id=lambda: f"wf_{next(self.ids)}")
            )
            yield Process(self.store, self.peers, desk, logs, worker, children, held[0])


def bench(*states: str, **scripts: list[Script] | Script) -> Bench:
    """Definitions `d`, `e`, …, and what comes of calls of tools and agents."""
    names = "defgh"
    peers = FakePeers(
        {name: each if isinstance(each, list) else [each] for name, each in scripts.items()}
    )
    return Bench(
        [defined(each, name=name) for name, each in zip(names, states, strict=False)], peers
    )
