"""Orchestrators die at random moments under load, and every accepted task still ends, once."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from tests.e2e.replicas import SOON, Cluster, client, cluster, patiently, watched
from tests.servers.postgres import Postgres, postgres
from tests.servers.redis import Redis, redis

TASKS = 200
SCRIPT = (
    'tool:calculator {{"expression": "{n}+1"}}\n\n'
    'sleep:{sleep}\ntool:calculator {{"expression": "{n}+2"}}\ntokens:{tokens}'
)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL for this module."""
    with postgres() as running:
        yield running


async def accepted(stub: "pb_grpc.OrchestratorServiceAsyncStub", seed: random.Random) -> list[str]:
    """The ids of many tasks; each is asked for under a key, until it is accepted."""

    name = uuid4().hex  # Tests share a server, and keys last a day.

    async def create(n: int) -> str:
        await asyncio.sleep(seed.random() * 3)
        query = SCRIPT.format(n=n, sleep=seed.randrange(200), tokens=seed.randrange(1, 400))
        request = pb.InvokeRequest(query=query, idempotency_key=f"{name} {n}")
        return (await patiently(lambda: stub.CreateTask(request, timeout=10))).task_id

    return list(await asyncio.gather(*(create(n) for n in range(TASKS))))


async def kill(running: Cluster, seed: random.Random, times: int) -> None:
    """Kill one replica after another, each time at a random moment."""
    for n in range(times):
        await asyncio.sleep(0.3 + seed.random())
        victim = running.orchestrators[n % len(running.orchestrators)]
        await asyncio.to_thread(victim.kill)
        victim.start()


def check(events: Sequence[pb.TaskEvent]) -> None:
    """What holds of every log, whatever happened."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert Counter(event.type for event in events)["task_complete"] == 1
    assert events[-1].status == "completed", events[-1].error
    results = Counter(event.tool_call_id for event in events if event.type == "tool_result")
    calls = Counter(event.tool_call_id for event in events if event.type == "tool_call")
    assert set(results.values()) == {1}, "a completed call was made again"
    assert results == calls
    done = [event.step_id for event in events if event.type == "tool_result"]
    assert done == ["step_1", "step_2"], "a completed step was run again"
    abandoned = [n for n, event in enumerate(events) if event.type == "step_abandoned"]
    rest = events[abandoned[-1] :] if abandoned else events
    (answer,) = (event.answer for event in events if event.type == "final_answer")
    assert "".join(event.text for event in rest if event.type == "message_delta") == answer


async def survive(running: Cluster, seed: random.Random, harm: Awaitable[None]) -> None:
    """Load it while harm is done to it, and look at every log as two watchers see it."""
    async with client(running) as stub, asyncio.timeout(100):
        harming = asyncio.ensure_future(harm)
        task_ids = await accepted(stub, seed)
        logs = await asyncio.gather(*(watched(stub, task_id) for task_id in task_ids))
        await harming
        once_more = await asyncio.gather(*(watched(stub, task_id) for task_id in task_ids))

    assert len(set(task_ids)) == TASKS
    for events in logs:
        check(events)
    for first, second in zip(logs, once_more, strict=True):
        assert [event.SerializeToString() for event in first] == [
            event.SerializeToString() for event in second
        ]


def check_text(events: Sequence[pb.TaskEvent], text: str) -> None:
    """What watchers put together is this one text, whoever said which part of it."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events if event.type == "step_abandoned"] == []
    assert {event.attempt for event in events if event.HasField("attempt")} == {1}
    assert "".join(event.text for event in events if event.type == "message_delta") == text
    assert [event.answer for event in events if event.type == "final_answer"] == [text]
    assert events[-1].status == "completed"


async def restart(server: Postgres | Redis, seed: random.Random, times: int) -> None:
    """Kill a store, each time at a random moment, and start it again."""
    for _ in range(times):
        await asyncio.sleep(0.5 + seed.random())
        await asyncio.to_thread(server.crash)
        await asyncio.to_thread(server.start)


async def test_no_task_is_lost_with_sqlite(tmp_path: Path) -> None:
    seed = random.Random(1)
    with cluster(tmp_path, f"sqlite:///{tmp_path / 'data'}") as running:
        await survive(running, seed, kill(running, seed, 4))


async def test_no_task_is_lost_with_two_replicas_on_postgresql(
    tmp_path: Path, server: Postgres
) -> None:
    seed = random.Random(2)
    with cluster(tmp_path, server.url, replicas=2) as running:
        await survive(running, seed, kill(running, seed, 4))


async def test_no_task_is_lost_when_postgresql_crashes(tmp_path: Path) -> None:
    seed = random.Random(3)
    with postgres() as server, cluster(tmp_path, server.url, replicas=2) as running:
        await survive(running, seed, restart(server, seed, 2))


async def test_no_task_is_lost_when_redis_is_killed(tmp_path: Path, server: Postgres) -> None:
    seed = random.Random(4)
    with redis() as hot:
        stores = {"replicas": 2, "RUNPLANE_HOT_STORE": hot.url}
        with cluster(tmp_path, server.url, **stores) as running:  # type: ignore[arg-type]
            await survive(running, seed, restart(hot, seed, 3))


async def test_a_task_can_be_cancelled_by_a_replica_that_does_not_have_it(
    tmp_path: Path, server: Postgres
) -> None:
    with redis() as hot:
        stores = {"replicas": 2, "RUNPLANE_HOT_STORE": hot.url}
        with cluster(tmp_path, server.url, **stores) as running:  # type: ignore[arg-type]
            first, second = (Cluster([each]) for each in running.orchestrators)
            async with client(first) as here, client(second) as there, asyncio.timeout(20):
                task = await here.CreateTask(pb.InvokeRequest(query="tokens:100000"))
                canceled = await there.CancelTask(pb.CancelTaskRequest(task_id=task.task_id))
                again = await here.CancelTask(pb.CancelTaskRequest(task_id=task.task_id))
                events = await watched(there, task.task_id)

    assert (canceled.status, again.status) == ("canceled", "canceled")
    assert events[-1].status == "canceled"


async def heard(
    stub: "pb_grpc.OrchestratorServiceAsyncStub", task_id: str, after: int, times: int = 5
) -> int:
    """The sequence of a task's last event, once there is so much more text after this one."""
    request = pb.WatchTaskRequest(task_id=task_id, after_sequence=after)
    async for event in stub.WatchTask(request, timeout=30):
        after = event.sequence
        times -= event.type == "message_delta"
        if not times:
            return after
    raise AssertionError("the text ended too early")


@pytest.mark.parametrize("tool_choice", ["auto", "none"], ids=["a step", "free text"])
async def test_a_text_whose_worker_is_killed_in_the_middle_of_it_reads_as_one(
    tmp_path: Path, tool_choice: str
) -> None:
    text = "\n".join(f'Line {n}: "Björn" said \\ 50 % … 🐋' for n in range(1, 301))
    with cluster(tmp_path, f"sqlite:///{tmp_path / 'data'}", **SOON) as running:
        victim, last = running.orchestrators[0], 0
        async with client(running) as stub, asyncio.timeout(60):
            request = pb.InvokeRequest(query=text, tool_choice=tool_choice)
            task_id = (await stub.CreateTask(request)).task_id
            for _ in range(2):
                last = await patiently(lambda after=last: heard(stub, task_id, after))  # type: ignore[misc]
                await asyncio.to_thread(victim.kill)
                victim.start()
            events = await watched(stub, task_id)

    check_text(events, text)
    assert victim.said().count("text continued") == 2
