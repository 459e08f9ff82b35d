"""The process that runs a model is killed in the middle of an answer, and the task's fallback goes
on with it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from tests.e2e.fleet import fleet
from tests.e2e.replicas import client, watched

TEXT = " ".join(f"tok{number}" for number in range(1, 201))


def said(events: Sequence[pb.TaskEvent]) -> str:
    return "".join(event.text for event in events if event.type == "message_delta")


@pytest.mark.parametrize("count", [1, 8])
async def test_answers_whose_model_is_killed_are_finished_by_the_fallback(
    tmp_path: Path, count: int
) -> None:
    with fleet(tmp_path) as running:
        async with client(running) as stub, asyncio.timeout(60):
            request = pb.InvokeRequest(query="tokens:200", tool_choice="none")
            tasks = [await stub.CreateTask(request, timeout=10) for _ in range(count)]
            victim = running.home(tasks[0].session_id)
            await spoken(stub, tasks)
            await asyncio.to_thread(victim.kill)
            logs = {each.task_id: await watched(stub, each.task_id) for each in tasks}

    for events in logs.values():
        assert events[-1].status == "completed"
        assert said(events) == TEXT
        assert [event.answer for event in events if event.type == "final_answer"] == [TEXT]
    changed = {
        task_id: [event.model_change for event in events if event.type == "model_changed"]
        for task_id, events in logs.items()
    }
    assert changed[tasks[0].task_id]
    for task_id in filter(changed.get, changed):
        (change,) = changed[task_id]
        assert (change.from_model, change.model) == ("large", "small")
        assert logs[task_id][-1].metadata.model == "small"


async def spoken(stub: "pb_grpc.OrchestratorServiceAsyncStub", tasks: Sequence[pb.Task]) -> None:
    """Wait until each of these tasks has said something."""
    for task in tasks:
        request = pb.WatchTaskRequest(task_id=task.task_id)
        watching = stub.WatchTask(request, timeout=20)
        async for event in watching:
            if event.type == "message_delta":
                break
        watching.cancel()
