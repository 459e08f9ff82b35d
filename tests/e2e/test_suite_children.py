"""Agents that call agents, while the orchestrator is killed again and again."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from runplane.orchestrator.v1 import agents_pb2, agents_pb2_grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.client import channel
from services.chassis.settings import ClientSettings
from tests.e2e.replicas import Cluster, cluster
from tests.e2e.test_suite_kills import client, kill, patiently, watched

TASKS: Final = 12
HAND: Final = agents_pb2.Agent(agent_id="hand", tools=["calculator"])
LEAD: Final = agents_pb2.Agent(agent_id="lead", tools=["agent__hand"])


def query(n: int) -> str:
    """Two calls of the other agent at once, and one more, each of which takes a while."""
    calls = [
        json.dumps({"query": f'sleep:{each}\ntool:calculator {{"expression": "{n}+1"}}\nDone.'})
        for each in (200, 400, 300)
    ]
    first, second, third = (f"tool:agent__hand {given}" for given in calls)
    return f"{first}\n{second}\n\n{third}\nAll done."


async def create_agents(running: Cluster) -> None:
    """Those that the tasks name."""
    async with channel(ClientSettings(target=running.target)) as opened:
        stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(opened)
        for agent in (HAND, LEAD):
            await stub.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent), timeout=10)


def children_of(events: Sequence[pb.TaskEvent]) -> list[str]:
    """The tasks that a log names, and that it names one for each call."""
    begun, calls, results = (
        Counter(each.tool_call_id for each in events if each.type == kind)
        for kind in ("child_task", "tool_call", "tool_result")
    )
    assert events[-1].status == "completed", events[-1].error
    assert begun == calls == results
    assert {each.status for each in events if each.type == "tool_result"} == {"success"}
    return [each.child_task_id for each in events if each.type == "child_task"]


async def test_no_call_of_an_agent_becomes_two_tasks(tmp_path: Path) -> None:
    seed, quick = random.Random(7), {"ORCHESTRATOR_TASKS__LEASE": "PT1S"}
    with cluster(tmp_path, f"sqlite:///{tmp_path}", **quick) as running:
        async with client(running) as stub, asyncio.timeout(100):
            await create_agents(running)
            requests = [
                pb.InvokeRequest(query=query(n), agent_id="lead", idempotency_key=f"{n}")
                for n in range(TASKS)
            ]
            tasks = [await stub.CreateTask(each, timeout=10) for each in requests]
            harming = asyncio.ensure_future(kill(running, seed, 3))
            logs = await asyncio.gather(*(watched(stub, each.task_id) for each in tasks))
            await harming
            children = [each for events in logs for each in children_of(events)]
            page = await patiently(
                lambda: stub.ListTasks(pb.ListTasksRequest(page_size=1000), timeout=10)
            )

    assert len(children) == 3 * TASKS
    assert {each.task_id for each in page.tasks if each.parent_task_id} == set(children)
    assert {each.status for each in page.tasks} == {"completed"}
