"""Sessions on replicas: who waits for whom, and who is interrupted by whom, wherever they run."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from runplane.orchestrator.v1 import sessions_pb2 as ss
from runplane.orchestrator.v1 import sessions_pb2_grpc

from services.chassis.client import channel
from services.chassis.settings import ClientSettings
from tests.e2e.replicas import Cluster, cluster
from tests.servers.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL for this module."""
    with postgres() as running:
        yield running


@asynccontextmanager
async def client(running: Cluster, number: int = 0) -> AsyncIterator[grpc.aio.Channel]:
    """A client of one replica, which may be away for a while."""
    address = running.orchestrators[number].address
    async with channel(ClientSettings(target=address)) as opened, asyncio.timeout(60):
        yield opened


async def begun(opened: grpc.aio.Channel, query: str, session_id: str = "") -> pb.Task:
    """A turn in the background."""
    request = pb.InvokeRequest(query=query, session_id=session_id, on_busy="enqueue")
    stub: pb_grpc.OrchestratorServiceAsyncStub = pb_grpc.OrchestratorServiceStub(opened)
    return await stub.CreateTask(request, wait_for_ready=True)


async def ended(opened: grpc.aio.Channel, task_id: str) -> pb.Task:
    """A task, once it has ended."""
    stub: pb_grpc.OrchestratorServiceAsyncStub = pb_grpc.OrchestratorServiceStub(opened)
    request = pb.WatchTaskRequest(task_id=task_id)
    async for _ in stub.WatchTask(request, wait_for_ready=True):
        pass
    return await stub.GetTask(pb.GetTaskRequest(task_id=task_id))


async def texts(opened: grpc.aio.Channel, session_id: str) -> list[str]:
    """What was said in a session."""
    stub: sessions_pb2_grpc.SessionServiceAsyncStub = sessions_pb2_grpc.SessionServiceStub(opened)
    listed = await stub.ListMessages(ss.ListMessagesRequest(session_id=session_id))
    return [each.content for each in listed.messages]


async def listed(opened: grpc.aio.Channel) -> list[str]:
    """All sessions."""
    stub: sessions_pb2_grpc.SessionServiceAsyncStub = sessions_pb2_grpc.SessionServiceStub(opened)
    return [
        each.session_id for each in (await stub.ListSessions(ss.ListSessionsRequest())).sessions
    ]


async def test_turns_that_wait_survive_a_kill_and_keep_their_order(tmp_path: Path) -> None:
    with cluster(tmp_path, f"sqlite:///{tmp_path / 'data'}") as running:
        async with client(running) as opened:
            first = await begun(opened, "sleep:1000\na")
            rest = [await begun(opened, text, first.session_id) for text in "bc"]
            await asyncio.to_thread(running.orchestrators[0].kill)
            running.orchestrators[0].start()
            done = [await ended(opened, each.task_id) for each in (first, *rest)]
            last = await begun(opened, "d", first.session_id)
            done.append(await ended(opened, last.task_id))
            said = await texts(opened, first.session_id)

    assert [each.status for each in rest] == ["pending", "pending"]
    assert [(each.status, each.result) for each in done] == [("completed", text) for text in "abcd"]
    times = [each.update_time.ToDatetime() for each in done]
    assert times == sorted(times)
    assert said == ["sleep:1000\na", *"abbccdd"]


async def test_replicas_keep_a_session_to_one_task_at_a_time(
    tmp_path: Path, server: Postgres
) -> None:
    with cluster(tmp_path, server.url, replicas=2) as running:
        async with client(running, 0) as here, client(running, 1) as there:
            first = await begun(here, "sleep:500\na")
            both = (here, there)
            rest = await asyncio.gather(
                *(begun(both[n % 2], str(n), first.session_id) for n in range(6))
            )
            done = [await ended(there, each.task_id) for each in (first, *rest)]
            said = await texts(there, first.session_id)

    assert {each.status for each in done} == {"completed"}
    by_end = [each.result for each in sorted(done, key=lambda each: each.update_time.ToDatetime())]
    assert by_end == said[1::2]
    assert sorted(by_end) == [*"012345", "a"]


async def test_a_turn_interrupts_the_one_that_another_replica_runs(
    tmp_path: Path, server: Postgres
) -> None:
    with cluster(tmp_path, server.url, replicas=2) as running:
        async with client(running, 0) as here, client(running, 1) as there:
            first = await begun(here, "sleep:60000\na")
            request = pb.InvokeRequest(
                query="b", session_id=first.session_id, on_busy="interrupt", timeout_ms=20_000
            )
            answer = await pb_grpc.OrchestratorServiceStub(there).Invoke(request)
            interrupted = await ended(there, first.task_id)
            before = await listed(there)
            delete = ss.DeleteSessionRequest(session_id=first.session_id)
            await sessions_pb2_grpc.SessionServiceStub(here).DeleteSession(delete)
            after = await listed(there)

    assert before == [first.session_id, *after]
    assert (answer.status, answer.result) == ("completed", "b")
    assert interrupted.status == "canceled"
