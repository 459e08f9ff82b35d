"""Requests that come while their session's last task goes on."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import sessions_pb2 as ss

from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.sessions import (
    begun,
    ended,
    info,
    messages,
    prompt_tokens,
    refused,
    said,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = "sleep:300\nslow"
ENDLESS = "sleep:60000\nnever"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow() -> AsyncIterator[Suite]:
    """A suite that runs two tasks at a time."""
    async with started(TaskSettings(max_running=2)) as running:
        yield running


async def status(suite: Suite, task_id: str) -> str:
    return (await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)).status


async def cancel(suite: Suite, task_id: str) -> None:
    await suite.stub.CancelTask(pb.CancelTaskRequest(task_id=task_id), timeout=5)


async def test_a_busy_session_rejects_and_names_the_task(suite: Suite) -> None:
    first = await begun(suite, ENDLESS)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await begun(suite, "x", first.session_id)
    await cancel(suite, first.task_id)

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert info(caught.value).reason == "SESSION_BUSY"
    assert info(caught.value).metadata["task_id"] == first.task_id
    assert await said(suite, "x", first.session_id) == first.session_id


async def test_what_waits_starts_in_order_and_sees_what_came_before(suite: Suite) -> None:
    alone = await prompt_tokens(suite, "x")
    first = await begun(suite, SLOW, on_busy="enqueue")
    others = [await begun(suite, text, first.session_id) for text in ("b", "c")]
    states = [each.status for each in others]
    last = await prompt_tokens(suite, "x", first.session_id)
    done = [await ended(suite, each.task_id) for each in others]

    assert states == ["pending", "pending"]
    assert [each.status for each in done] == ["completed", "completed"]
    assert [content for _, role, content in await messages(suite, first.session_id)] == [
        *(SLOW, "slow", "b", "b", "c", "c", "x", "x")
    ]
    assert last == alone + (2 + 1) + (1 + 1) + 4 * (1 + 1)


async def test_an_interrupt_ends_the_task_that_goes_on(suite: Suite) -> None:
    first = await begun(suite, ENDLESS, on_busy="interrupt")
    async with asyncio.timeout(5):
        session_id = await said(suite, "x", first.session_id)

    assert (await ended(suite, first.task_id)).status == "canceled"
    assert session_id == first.session_id


async def test_an_interrupt_ends_those_that_wait_too(suite: Suite) -> None:
    first = await begun(suite, ENDLESS)
    second = await begun(suite, "b", first.session_id, on_busy="enqueue")
    async with asyncio.timeout(5):
        await said(suite, "x", first.session_id, on_busy="interrupt")

    done = [await ended(suite, each.task_id) for each in (first, second)]
    assert [each.status for each in done] == ["canceled", "canceled"]


async def test_a_request_may_say_otherwise_than_its_session(suite: Suite) -> None:
    created = await suite.sessions.CreateSession(ss.CreateSessionRequest(on_busy="enqueue"))
    first = await begun(suite, ENDLESS, created.session_id)

    rejected = begun(suite, "x", created.session_id, on_busy="reject")
    assert await refused(rejected) == ("FAILED_PRECONDITION", "SESSION_BUSY")
    await said(suite, "x", created.session_id, on_busy="interrupt")
    assert await status(suite, first.task_id) == "canceled"


async def test_of_two_turns_at_once_one_is_rejected(suite: Suite) -> None:
    session_id = await said(suite, "x")
    requests = [pb.InvokeRequest(query=SLOW, session_id=session_id) for _ in range(5)]

    outcomes = await asyncio.gather(
        *(suite.stub.Invoke(each, timeout=10) for each in requests), return_exceptions=True
    )

    errors = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert [info(each).reason for each in errors] == ["SESSION_BUSY"] * 4
    assert len(await messages(suite, session_id)) == 4


async def test_turns_at_once_are_enqueued_one_after_the_other(suite: Suite) -> None:
    session_id = await said(suite, "x", on_busy="enqueue")
    requests = [pb.InvokeRequest(query=f"{n}", session_id=session_id) for n in range(40)]

    answers = await asyncio.gather(*(suite.stub.Invoke(each, timeout=10) for each in requests))
    tasks = [await suite.stub.GetTask(pb.GetTaskRequest(task_id=each.task_id)) for each in answers]
    by_turn = [each for _, role, each in await messages(suite, session_id) if role == "user"]
    tasks.sort(key=lambda task: by_turn.index(task.query))
    spans = [(task.create_time.ToDatetime(), task.update_time.ToDatetime()) for task in tasks]

    assert sorted(by_turn) == sorted([*map(str, range(40)), "x"])
    assert all(one[1] <= two[1] for one, two in itertools.pairwise(spans))


async def test_who_waits_takes_no_place_from_others(narrow: Suite) -> None:
    first = await begun(narrow, ENDLESS, on_busy="enqueue")
    waiting = [await begun(narrow, "w", first.session_id) for _ in range(3)]
    async with asyncio.timeout(5):
        await said(narrow, "elsewhere")

    assert [await status(narrow, each.task_id) for each in waiting] == ["pending"] * 3
    await suite_is_left(narrow, first.session_id)


async def suite_is_left(suite: Suite, session_id: str) -> None:
    """What goes on in a session is ended."""
    await suite.sessions.DeleteSession(ss.DeleteSessionRequest(session_id=session_id), timeout=10)


async def test_one_that_waits_can_be_canceled(suite: Suite) -> None:
    first = await begun(suite, ENDLESS, on_busy="enqueue")
    second = await begun(suite, "b", first.session_id)
    await cancel(suite, second.task_id)

    assert await status(suite, first.task_id) == "running"
    await suite_is_left(suite, first.session_id)


async def test_a_cancel_while_waiting_lets_nobody_overtake(suite: Suite) -> None:
    first = await begun(suite, ENDLESS, on_busy="enqueue")
    second = await begun(suite, "b", first.session_id)
    third = await begun(suite, "c", first.session_id)
    await cancel(suite, second.task_id)
    fourth = await begun(suite, "d", first.session_id)
    rejected = await refused(begun(suite, "e", first.session_id, on_busy="reject"))

    states = [await status(suite, each.task_id) for each in (third, fourth)]
    await cancel(suite, first.task_id)
    done = [await ended(suite, each.task_id) for each in (third, fourth)]

    assert states == ["pending", "pending"]
    assert rejected == ("FAILED_PRECONDITION", "SESSION_BUSY")
    assert [each.result for each in done] == ["c", "d"]


async def test_the_time_of_one_that_waits_runs(suite: Suite) -> None:
    first = await begun(suite, ENDLESS, on_busy="enqueue")
    second = await begun(suite, "b", first.session_id, limits=pb.TaskLimits(duration_ms=200))

    assert (await ended(suite, second.task_id)).error.error_code == "TASK_TIMEOUT"
    assert await status(suite, first.task_id) == "running"
    await suite_is_left(suite, first.session_id)


@pytest.mark.parametrize("policy", ["reject", "enqueue", "interrupt"])
async def test_a_repeated_turn_is_the_same_turn(suite: Suite, policy: str) -> None:
    session_id = await said(suite, "x")
    request = pb.InvokeRequest(
        query=SLOW, session_id=session_id, on_busy=policy, idempotency_key=f"turn-{policy}"
    )

    answers = await asyncio.gather(*(suite.stub.Invoke(request, timeout=10) for _ in range(4)))

    assert len({each.task_id for each in answers}) == 1
    assert {each.status for each in answers} == {"completed"}
    assert len(await messages(suite, session_id)) == 4
    await said(suite, "y", session_id)  # No turn was left behind that has no task.


async def test_turns_that_there_is_no_room_for_take_up_nothing_of_the_session() -> None:
    async with started(TaskSettings(max_running=1, max_queued=1)) as suite:
        first = await begun(suite, ENDLESS, on_busy="enqueue")
        await begun(suite, "waits", first.session_id)
        named = ss.GetSessionRequest(session_id=first.session_id)
        before = await suite.sessions.GetSession(named, timeout=5)
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await begun(suite, "x", first.session_id)
        after = await suite.sessions.GetSession(named, timeout=5)

    assert info(caught.value).reason == "TOO_MANY_TASKS"
    assert after == before


async def test_a_session_is_no_task(suite: Suite) -> None:
    session_id = await said(suite, "Hello")
    await said(suite, "again", session_id)
    request = pb.WatchTaskRequest(task_id=session_id)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in suite.stub.WatchTask(request, timeout=5):
            pass

    assert info(caught.value).reason == "TASK_NOT_FOUND"
