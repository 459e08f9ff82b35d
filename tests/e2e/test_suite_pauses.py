"""A replica stands still past its leases, and the other one goes on with its tasks: when it wakes
up, it writes nothing more."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from tests.e2e.replicas import Cluster, Process, client, cluster, watched
from tests.e2e.running import until
from tests.servers.postgres import Postgres, postgres

TASKS = 8
LEASE = {"ORCHESTRATOR_TASKS__LEASE": "2s", "ORCHESTRATOR_TASKS__LOOK": "100ms"}
HELD_UP = """
create function orchestrator.held_up() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(1);
  return null;
end
$$;
create trigger held_up before update on orchestrator.work
  for each statement execute function orchestrator.held_up();
"""


async def speaking(stub: "pb_grpc.OrchestratorServiceAsyncStub") -> str:
    """A task in the middle of an answer that takes some seconds."""
    task = await stub.CreateTask(pb.InvokeRequest(query="tokens:1500", tool_choice="none"))
    async for event in stub.WatchTask(pb.WatchTaskRequest(task_id=task.task_id)):
        if event.type == "message_delta":
            break
    return task.task_id


@asynccontextmanager
async def claims_cannot_be_looked_at(server: Postgres) -> AsyncIterator[None]:
    """Whoever renews claims, or looks for some, waits until the context is left."""
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(HELD_UP)
        await connection.execute("select pg_advisory_lock(1)")
        yield
    finally:
        await connection.close()


def refusals(process: Process) -> list[str]:
    """Why a replica gave its tasks up."""
    lines = [line for line in process.said().splitlines() if "task given up" in line]
    return [json.loads(line)["cause"] for line in lines]


async def test_a_replica_that_wakes_up_past_its_leases_is_refused_by_their_epochs(
    tmp_path: Path,
) -> None:
    with (
        postgres() as server,
        cluster(tmp_path, server.url, replicas=2, **LEASE) as running,
    ):
        sleeper, other = running.orchestrators
        async with (
            asyncio.timeout(100),
            client(Cluster([sleeper])) as here,
            client(Cluster([other])) as there,
        ):
            task_ids = await asyncio.gather(*(speaking(here) for _ in range(TASKS)))
            sleeper.signal(signal.SIGSTOP)
            logs = await asyncio.gather(*(watched(there, each) for each in task_ids))
            async with claims_cannot_be_looked_at(server):
                sleeper.signal(signal.SIGCONT)  # Only its appends tell it what has happened.
                await asyncio.to_thread(until, lambda: len(refusals(sleeper)) == TASKS)
            again = await asyncio.gather(*(watched(here, each) for each in task_ids))

    assert refusals(sleeper) == ["CLAIM_LOST"] * TASKS
    for events in logs:
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        said = "".join(event.text for event in events if event.type == "message_delta")
        assert [event.answer for event in events if event.type == "final_answer"] == [said]
        assert said.count("tok") == 1500  # One text, whoever said which part of it.
        assert events[-1].status == "completed"
    assert again == logs
