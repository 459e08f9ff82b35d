"""A cancel keeps its promise whatever the task does and whoever is asked: state, log and engine
agree."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import pytest
import pytest_asyncio
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.inference.v1 import inference_pb2, inference_pb2_grpc
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb
from runplane.type.v1.content_pb2 import Message

from tests.e2e.replicas import Cluster, client, cluster, patiently, watched
from tests.servers.postgres import Postgres, postgres
from tests.servers.registry import Told, registry

pytestmark = pytest.mark.asyncio(loop_scope="module")

# One task at a time for each replica, and one engine's slot for all of them: an engine that is not
# let go of, or a place, is seen by whoever needs it next.
TIGHT = {
    "ORCHESTRATOR_TASKS__MAX_RUNNING": "1",
    "INFERENCE_ECHO__SLOTS": "1",
    "INFERENCE_ECHO__QUEUE": "0",
}
Stub: TypeAlias = "pb_grpc.OrchestratorServiceAsyncStub"


@dataclass
class Waits:
    """A tool whose calls end when they are cancelled."""

    began: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Has one for each call that began and was not asked for yet."""
    cancelled: set[str] = field(default_factory=set)

    async def __call__(
        self, request: tools_pb.CallToolRequest, _: Told
    ) -> tools_pb.CallToolResponse:
        self.began.release()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.add(request.tool_call_id)
        raise AssertionError(request.tool_call_id)


@dataclass
class Replicas:
    """Two orchestrators: the one that has the task, and another."""

    here: Stub
    there: Stub
    inference: "inference_pb2_grpc.InferenceServiceAsyncStub"
    waits: Waits
    others: list[str] = field(default_factory=list)
    """Tasks that only keep a place."""

    async def begin(self, query: str, to: str) -> str:
        """A task of the first one that has come to an event of this type."""
        task = await self.here.CreateTask(pb.InvokeRequest(query=query), timeout=10)
        async for event in self.here.WatchTask(pb.WatchTaskRequest(task_id=task.task_id)):
            if event.type == to:
                break
        return task.task_id

    async def check_idle(self) -> None:
        """The engine's only slot can be had, and so can each replica's only place."""
        for task_id in self.others:
            await cancel(self.here, task_id)
        self.others.clear()
        hello = inference_pb2.GenerateRequest(messages=[Message(role="user", content="Hi")])
        await patiently(lambda: self.inference.Generate(hello, timeout=5))
        for stub in (self.here, self.there):
            answer = await patiently(lambda stub=stub: stub.Invoke(pb.InvokeRequest(query="Hi")))
            assert answer.result == "Hi"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL for this module."""
    with postgres() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def it(tmp_path_factory: pytest.TempPathFactory, server: Postgres) -> AsyncIterator[Replicas]:
    """Two replicas that share no hot store."""
    folder = tmp_path_factory.mktemp("cancels")
    async with registry() as tools:
        tools.add("wait")
        waits = tools.answers["wait"] = Waits()
        settings = TIGHT | {"ORCHESTRATOR_TOOL_REGISTRY__TARGET": tools.address}
        with cluster(folder, server.url, replicas=2, **settings) as running:
            first, second = (Cluster([each]) for each in running.orchestrators)
            target = running.others[0].address
            async with (
                client(first) as here,
                client(second) as there,
                grpc.aio.insecure_channel(target) as channel,
            ):
                inference = inference_pb2_grpc.InferenceServiceStub(channel)
                yield Replicas(here, there, inference, waits)


async def queued(it: Replicas) -> str:
    """A task that waits for another one's place."""
    it.others.append(await it.begin("sleep:60000", "task_start"))
    return await it.begin("tokens:10", "task_start")


async def thinking(it: Replicas) -> str:
    """A task whose model has said nothing yet."""
    return await it.begin("sleep:60000", "task_start")


async def speaking(it: Replicas) -> str:
    """A task in the middle of its answer."""
    return await it.begin("tokens:100000", "message_delta")


async def using_tools(it: Replicas) -> str:
    """A task whose tools run."""
    task_id = await it.begin("tool:wait {}\ntool:wait {}\nnever", "tool_call")
    for _ in range(2):
        await it.waits.began.acquire()
    return task_id


def cancel(stub: Stub, task_id: str) -> Awaitable[pb.Task]:
    """A cancel with a reason."""
    return stub.CancelTask(pb.CancelTaskRequest(task_id=task_id, reason="enough"), timeout=20)


def check(events: Sequence[pb.TaskEvent], canceled: pb.Task) -> None:
    """The log says the same as the state, and has all that was said and no more."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert canceled.last_sequence == len(events)
    assert (canceled.status, canceled.state) == ("canceled", pb.TASK_STATE_CANCELED)
    types = [event.type for event in events]
    assert types.count("task_complete") == 1
    assert "final_answer" not in types
    assert "tool_result" not in types
    assert (events[-1].status, events[-1].comment) == ("canceled", "enough")
    said = "".join(event.text for event in events if event.type == "message_delta")
    assert canceled.result == said


@pytest.mark.parametrize("asked", ["here", "there"])
@pytest.mark.parametrize("doing", [queued, thinking, speaking, using_tools])
async def test_a_cancel_ends_a_task_whatever_it_does_and_whoever_is_asked(
    it: Replicas, doing: Callable[[Replicas], Awaitable[str]], asked: str
) -> None:
    async with asyncio.timeout(60):
        task_id = await doing(it)
        canceled = await cancel(getattr(it, asked), task_id)
        again = [await cancel(stub, task_id) for stub in (it.here, it.there)]
        logs = [await watched(stub, task_id) for stub in (it.here, it.there)]
        await it.check_idle()

    check(logs[0], canceled)
    assert logs[0] == logs[1]
    assert again == [canceled, canceled]
    calls = {event.tool_call_id for event in logs[0] if event.type == "tool_call"}
    assert len(calls) == (2 if doing is using_tools else 0)
    assert calls <= it.waits.cancelled


@pytest.mark.parametrize("doing", [queued, speaking, using_tools])
async def test_many_cancels_at_once_are_one(
    it: Replicas, doing: Callable[[Replicas], Awaitable[str]]
) -> None:
    async with asyncio.timeout(60):
        task_id = await doing(it)
        stubs = [it.there, it.here] * 4
        canceled = await asyncio.gather(*(cancel(stub, task_id) for stub in stubs))
        events = await watched(it.there, task_id)
        await it.check_idle()

    check(events, canceled[0])
    assert canceled == [canceled[0]] * len(stubs)


async def test_a_task_that_ended_is_cancelled_by_nobody(it: Replicas) -> None:
    async with asyncio.timeout(60):
        task_id = await it.begin("tokens:10", "task_complete")
        reasons = [await refusal(stub, task_id) for stub in (it.here, it.there)]
        task = await it.there.GetTask(pb.GetTaskRequest(task_id=task_id))
        events = await watched(it.here, task_id)

    assert reasons == [(grpc.StatusCode.FAILED_PRECONDITION, "TASK_ALREADY_ENDED")] * 2
    assert (task.status, events[-1].status) == ("completed", "completed")
    assert task.last_sequence == len(events)


async def refusal(stub: Stub, task_id: str) -> tuple[grpc.StatusCode, str]:
    """How a cancel is refused."""
    info = ErrorInfo()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await cancel(stub, task_id)
    status = rpc_status.from_call(caught.value)
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return caught.value.code(), info.reason
