"""Sessions whose orchestrator stops in the middle of a turn, and whose next one goes on."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc

from services.chassis.settings import SharedSettings
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import SHARED, Suite, started
from tests.integration.orchestrator.sessions import (
    begun,
    ended,
    messages,
    prompt_tokens,
    refused,
    said,
)

SLOW = "sleep:700\nslow"
LONGER_THAN_THE_GRACE = "sleep:2500\nslow"


@pytest.fixture
def kept(tmp_path: Path) -> SharedSettings:
    """Stores that outlive a suite."""
    return SHARED.model_copy(update={"event_store": f"sqlite:///{tmp_path}"})


async def prompt_of(events: list[pb.TaskEvent]) -> int:
    return next(each for each in events if each.type == "final_answer").usage.prompt_tokens


async def test_turns_go_on_in_order_and_with_their_history_after_a_restart(
    kept: SharedSettings,
) -> None:
    async with started(shared=kept) as suite, asyncio.timeout(20):
        alone = await prompt_tokens(suite, "x")
        session_id = await said(suite, "first of all", on_busy="enqueue")
        running = await begun(suite, SLOW, session_id, tool_choice="none")
        waiting = [await begun(suite, text, session_id, tool_choice="none") for text in "bc"]

    async with started(shared=kept) as suite, asyncio.timeout(20):
        last = await prompt_tokens(suite, "x", session_id)
        done = [await ended(suite, each.task_id) for each in (running, *waiting)]
        request = pb.WatchTaskRequest(task_id=running.task_id)
        events = [event async for event in suite.stub.WatchTask(request, timeout=5)]
        texts = [text for _, _, text in await messages(suite, session_id)]

    assert [each.status for each in waiting] == ["pending", "pending"]
    assert [each.status for each in done] == ["completed"] * 3
    assert texts == ["first of all"] * 2 + [SLOW, "slow", *"bbccxx"]
    assert await prompt_of(events) == alone + 2 * (3 + 1) + 1  # The query has two words, not one.
    assert last == alone + 2 * (3 + 1) + (2 + 1) + (1 + 1) + 4 * (1 + 1)


async def test_a_caller_that_is_cut_off_by_a_stop_has_not_left_its_task(
    kept: SharedSettings,
) -> None:
    request = pb.InvokeRequest(query=LONGER_THAN_THE_GRACE, tool_choice="none")
    async with AsyncExitStack() as callers, asyncio.timeout(30):
        async with started(shared=kept) as suite:
            channel = grpc.aio.insecure_channel(suite.address)
            stub: pb_grpc.OrchestratorServiceAsyncStub = pb_grpc.OrchestratorServiceStub(
                await callers.enter_async_context(channel)
            )
            watching = stub.StreamInvoke(request, timeout=20)
            first = await watching.read()
            invoking = asyncio.ensure_future(stub.Invoke(request, timeout=20))
            while len((listed := await tasks_of(suite)).tasks) < 2:  # noqa: ASYNC110 - over a wire
                await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError):
            await invoking

    async with started(shared=kept) as suite, asyncio.timeout(20):
        done = [await ended(suite, each.task_id) for each in listed.tasks]

    assert first.task_id in {each.task_id for each in done}
    assert [each.status for each in done] == ["completed", "completed"]


async def tasks_of(suite: Suite) -> pb.ListTasksResponse:
    return await suite.stub.ListTasks(pb.ListTasksRequest(), timeout=5)


async def test_a_task_that_a_newer_version_went_on_with_is_left_to_that_one(
    kept: SharedSettings, tmp_path: Path
) -> None:
    def becomes(task_id: str, type_: str) -> None:
        sql = "update events set type = ? where stream_id = ? and sequence = 1"
        with closing(sqlite3.connect(tmp_path / "orchestrator.db")) as db, db:
            db.execute(sql, (type_, task_id))

    soon = TaskSettings(lease=timedelta(seconds=0.4), look=timedelta(seconds=0.02))
    async with started(soon, shared=kept) as suite, asyncio.timeout(20):
        newer, other = [await begun(suite, LONGER_THAN_THE_GRACE) for _ in "ab"]
    becomes(newer.task_id, "task.begun.v1")

    async with started(soon, shared=kept) as suite, asyncio.timeout(20):
        done = await ended(suite, other.task_id)
        asked = await refused(suite.stub.GetTask(pb.GetTaskRequest(task_id=newer.task_id)))
        becomes(newer.task_id, "task.started.v1")
        later = await ended(suite, newer.task_id)

    assert asked == ("UNAVAILABLE", "WRITTEN_BY_NEWER_VERSION")
    assert (done.status, later.status) == ("completed", "completed")
