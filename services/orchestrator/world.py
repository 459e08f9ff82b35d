"""What runs act on."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.chassis.eventlog.port import Claim
from services.orchestrator.briefing import Briefings
from services.orchestrator.budget import Budget
from services.orchestrator.domain.routing import Route
from services.orchestrator.domain.task import Task
from services.orchestrator.equipment import Catalogues
from services.orchestrator.memory import Memory
from services.orchestrator.places import Places
from services.orchestrator.ports import AgentStore, Children, Models, Schemas, TaskLog
from services.orchestrator.router import Router
from services.orchestrator.seen import Seen
from services.orchestrator.toolports import Tools


@dataclass(frozen=True, slots=True)
class World:
    """What a run acts on."""

    log: TaskLog
    models: Models
    tools: Tools
    schemas: Schemas
    now: Callable[[], datetime]
    spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]]
    agents: AgentStore
    children: Children
    memory: Memory
    places: Places
    budget: Budget
    max_wait: timedelta = timedelta(hours=24)
    """How long a task may wait for a person or a client, each time."""
    linger: timedelta = timedelta(seconds=2)
    """How long a task that waits is kept at hand."""
    routes: Mapping[str, Route] = field(default_factory=dict)
    """By name."""
    seen: Seen = field(default_factory=Seen)
    traced: Callable[[Task, Claim | None], AbstractContextManager[None]] = lambda *_: nullcontext()
    """What tells others of a run, as long as it lasts."""

    @property
    def router(self) -> Router:
        """What chooses models."""
        return Router(self.models, self.routes, self.seen)

    @property
    def catalogues(self) -> Catalogues:
        """Where equipment comes from."""
        return Catalogues(self.models, self.tools)

    @property
    def briefings(self) -> Briefings:
        """Where terms and equipment come from."""
        return Briefings(self.catalogues, self.agents, self.router)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
