"""What runs act on."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.orchestrator.briefing import Briefings
from services.orchestrator.budget import Budget
from services.orchestrator.equipment import Catalogues
from services.orchestrator.memory import Memory
from services.orchestrator.places import Places
from services.orchestrator.ports import AgentStore, Children, Models, Schemas, TaskLog
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

    @property
    def catalogues(self) -> Catalogues:
        """Where equipment comes from."""
        return Catalogues(self.models, self.tools)

    @property
    def briefings(self) -> Briefings:
        """Where terms and equipment come from."""
        return Briefings(self.catalogues, self.agents)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
