"""Tasks that actions are, against the real orchestrator: they go on whoever watches, until nobody
wants them any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from runplane.orchestrator.v1 import agents_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.client import channel
from services.chassis.context import current, local_context
from services.chassis.settings import ClientSettings
from services.workflow.adapters.agents_grpc import GrpcAgents
from services.workflow.domain.definition import Action, Kind
from services.workflow.domain.events import Spec
from services.workflow.domain.instance import Instance, Phase
from services.workflow.domain.outcomes import Outcome, Succeeded
from tests.integration.workflow.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 1, 2, tzinfo=UTC)
INSTANCE = Instance(
    Spec("wf_1", "default", "local", "order", 1, "wf_1", "0" * 32),
    *(Phase.ACTIVE, "charging", {}, 1, NOW, NOW, 1, NOW),
)


@asynccontextmanager
async def agents(world: World, name: str) -> AsyncIterator[tuple[GrpcAgents, Action]]:
    """The adapter, and an action that is an agent of its own."""
    made = agents_pb2.Agent(agent_id=name, instructions="Wait.")
    await world.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=made), timeout=5)
    current.set(local_context())
    async with (
        asyncio.timeout(15),
        channel(ClientSettings(target=world.orchestrator)) as opened,
    ):
        yield GrpcAgents(opened, timeout=timedelta(seconds=5)), Action(name, Kind.AGENT, name)


async def task_of(world: World, name: str, status: str) -> pb.Task:
    """The agent's only task, once it has that status."""
    while True:
        request = pb.ListTasksRequest(filter=f'agent_id = "{name}"')
        found = (await world.tasks.ListTasks(request, timeout=5)).tasks
        if found and found[0].status == status:
            (task,) = found
            return task


async def test_a_task_goes_on_when_its_worker_stops_and_the_next_one_has_its_answer(
    world: World,
) -> None:
    async with agents(world, "steady") as (tasks, action):
        given = {"query": "sleep:1000\ndone"}
        call = {"key": "wf_1/1/0", "instance": INSTANCE}
        running = asyncio.create_task(tasks.run(action, given, **call))
        begun = await task_of(world, "steady", "running")
        running.cancel()
        await asyncio.wait([running])

        outcome: Outcome = await tasks.run(action, given, **call)

    assert isinstance(outcome, Succeeded)
    assert outcome.output["task_id"] == begun.task_id


async def test_a_task_that_nobody_wants_any_more_is_cancelled_whoever_began_it(
    world: World,
) -> None:
    async with agents(world, "unwanted") as (tasks, action):
        call = {"key": "wf_1/2/0", "instance": INSTANCE}
        running = asyncio.create_task(tasks.run(action, {"query": "sleep:60000"}, **call))
        await task_of(world, "unwanted", "running")
        running.cancel()
        await asyncio.wait([running])

        await tasks.stop(action, **call)

        assert (await task_of(world, "unwanted", "canceled")).agent_id == "unwanted"


async def test_nothing_is_begun_to_be_stopped(world: World) -> None:
    async with agents(world, "idle") as (tasks, action):
        await tasks.stop(action, key="wf_1/3/0", instance=INSTANCE)

        request = pb.ListTasksRequest(filter='agent_id = "idle"')
        assert not (await world.tasks.ListTasks(request, timeout=5)).tasks
