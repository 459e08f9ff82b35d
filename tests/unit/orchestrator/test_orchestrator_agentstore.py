"""Agents on an event store, where two callers come at once."""

import asyncio
from dataclasses import replace
from typing import Final

from services.chassis.errors import Aborted, AlreadyExists
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, Claim
from services.orchestrator.adapters.agentstore import EventStoreAgents
from services.orchestrator.domain.agent import Agent
from services.orchestrator.domain.events import Sampling
from tests.unit.orchestrator.fakes import NOW

AGENT: Final = Agent("helper", 0, "local", NOW, NOW, Sampling(), {}, instructions="Help.")


class SlowStore(MemoryEventStore):
    """Lets others in between a look and a write."""

    async def append(self, batch: Append) -> Claim | None:
        """See `EventStore`."""
        await asyncio.sleep(0)
        return await super().append(batch)


async def test_of_two_that_create_an_agent_one_does() -> None:
    store = EventStoreAgents(SlowStore())

    ends = await asyncio.gather(
        *(store.create("default", AGENT, None) for _ in range(2)), return_exceptions=True
    )

    refused = next(end for end in ends if isinstance(end, AlreadyExists))
    assert refused.reason == "AGENT_ALREADY_EXISTS"
    assert await store.newest("default", "helper") == replace(AGENT, version=1)


async def test_of_two_that_change_an_agent_one_does() -> None:
    store = EventStoreAgents(SlowStore())
    made = await store.create("default", AGENT, None)
    next_one = replace(made, version=2, instructions="Help well.")

    ends = await asyncio.gather(
        store.update("default", next_one), store.delete("default", made), return_exceptions=True
    )

    assert [type(end) for end in ends] == [type(None), Aborted]
    assert await store.newest("default", "helper") == next_one


async def test_an_agent_and_a_task_of_the_same_name_are_apart() -> None:
    events = MemoryEventStore()
    store = EventStoreAgents(events)
    await store.create("default", replace(AGENT, agent_id="task_1"), None)

    assert list(await events.read("default", "task_1")) == []
