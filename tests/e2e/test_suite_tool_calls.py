"""A worker dies while a tool runs or waits for an answer: the call goes on as it began."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb

from tests.e2e.replicas import SOON, Cluster, client, cluster, patiently, watched
from tests.servers.registry import Registry, Told, asks, registry, success

ASKED = {"day": {"method": "elicitation/create", "params": {"message": "Which day?"}}}
GIVEN = {"day": {"action": "accept", "content": {"day": 7}}}
Metadata = tuple[tuple[str, str], ...]
HERS = (("runplane-tenant", "hers"), ("runplane-subject", "ann"))


@dataclass(frozen=True)
class Place:
    """An orchestrator to kill, and the registry that it asks."""

    running: Cluster
    stub: "pb_grpc.OrchestratorServiceAsyncStub"
    tools: Registry

    async def kill(self) -> None:
        """Kill -9, and start again."""
        victim = self.running.orchestrators[0]
        await asyncio.to_thread(victim.kill)
        victim.start()

    async def status(self, task_id: str, wanted: str, metadata: Metadata = ()) -> None:
        """Wait until a task's log says that it is so."""
        request = pb.WatchTaskRequest(task_id=task_id)

        async def told() -> None:
            events = self.stub.WatchTask(request, timeout=60, metadata=metadata)
            await anext(event async for event in events if event.status == wanted)

        await patiently(told)


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    async with registry() as tools, asyncio.timeout(100):
        settings = SOON | {"ORCHESTRATOR_TOOL_REGISTRY__TARGET": tools.address}
        with cluster(folder, f"sqlite:///{folder / 'data'}", **settings) as running:
            async with client(running) as stub:
                yield Place(running, stub, tools)


def is_whole(events: Sequence[pb.TaskEvent]) -> bool:
    """Whether a log has no gaps, and each call one result."""
    results = [event.tool_call_id for event in events if event.type == "tool_result"]
    calls = [event.tool_call_id for event in events if event.type == "tool_call"]
    numbers = [event.sequence for event in events]
    return results == calls and numbers == list(range(1, len(events) + 1))


async def test_a_call_cut_off_by_a_crash_is_made_again_in_its_version_under_its_key(
    tmp_path: Path,
) -> None:
    began = asyncio.Event()

    async def hang(request: tools_pb.CallToolRequest, tell: Told) -> tools_pb.CallToolResponse:
        if not began.is_set():
            said = tools_pb.ToolProgress(progress=1, total=2)
            await tell(tools_pb.ToolCallEvent(type="progress", progress=said))
            began.set()
            await asyncio.Event().wait()
        return success({"version": request.version})

    async with place(tmp_path) as it:
        it.tools.add("move", "1.0.0", reports_progress=True)
        it.tools.answers["move"] = hang
        asked = pb.InvokeRequest(query="tool:move {}\nMoved.", tools=["move@^1"])
        task = await it.stub.CreateTask(asked, timeout=5)
        await began.wait()
        it.tools.add("move", "1.1.0", reports_progress=True)
        await it.kill()
        events = await watched(it.stub, task.task_id)

    assert is_whole(events)
    assert events[-1].status == "completed"
    assert [each.request.version for each in it.tools.called] == ["1.0.0", "1.0.0"]
    assert len({each.request.idempotency_key for each in it.tools.called}) == 1
    (result,) = [event for event in events if event.type == "tool_result"]
    assert result.tool_version == "1.0.0"


async def test_a_call_of_its_own_outlives_its_worker(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def hang(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        if not began.is_set():
            began.set()
            await asyncio.Event().wait()
        return success({"moved": True})

    async with place(tmp_path) as it:
        it.tools.add("move", tenant="hers")
        it.tools.answers["move"] = hang
        spec = pb.ToolCallSpec(tool="move")
        asked = pb.InvokeRequest(call=spec)
        task = await it.stub.CreateTask(asked, timeout=5, metadata=HERS)
        await began.wait()
        await it.kill()
        await it.status(task.task_id, "completed", HERS)
        get = pb.GetTaskRequest(task_id=task.task_id)
        ended = await it.stub.GetTask(get, timeout=5, metadata=HERS)

    assert MessageToDict(ended.output) == {"moved": True}
    who = [each.who.principal for each in it.tools.called]
    assert [(each.tenant, each.subject) for each in who] == [("hers", "ann")] * 2


async def test_a_task_that_waits_for_what_its_tool_asks_for_outlives_its_worker(
    tmp_path: Path,
) -> None:
    async def book(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        if not request.HasField("input_responses"):
            return asks(ASKED, "sealed")
        told = MessageToDict(request.input_responses)
        return success({"told": told, "state": request.request_state})

    async with place(tmp_path) as it:
        it.tools.add("book")
        it.tools.answers["book"] = book
        asked = pb.InvokeRequest(query="tool:book {}\nBooked.")
        task = await it.stub.CreateTask(asked, timeout=5)
        await it.status(task.task_id, "waiting")
        await it.kill()
        await it.status(task.task_id, "waiting")
        watch = pb.WatchTaskRequest(task_id=task.task_id)
        events = it.stub.WatchTask(watch, timeout=20)
        call_id = await anext(e.tool_call_id async for e in events if e.type == "input_required")
        submit = pb.SubmitToolResultRequest(
            task_id=task.task_id,
            tool_call_id=call_id,
            input_responses=ParseDict(GIVEN, Struct()),
        )
        await patiently(lambda: it.stub.SubmitToolResult(submit, timeout=10))
        log = await watched(it.stub, task.task_id)

    assert is_whole(log)
    assert log[-1].status == "completed"
    (result,) = [event for event in log if event.type == "tool_result"]
    assert MessageToDict(result.output) == {"told": GIVEN, "state": "sealed"}
