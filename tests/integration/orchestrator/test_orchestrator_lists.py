"""Tasks that run in the background, lists of tasks, and starts that can be repeated."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from tests.integration.orchestrator.conftest import Suite, started

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fresh() -> AsyncIterator[Suite]:
    """A suite whose tasks are these tests' own."""
    async with started() as running:
        yield running


def info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    found = ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(found)
    return found


async def ended(suite: Suite, task_id: str) -> pb.Task:
    """The task, once it has ended."""
    async with asyncio.timeout(10):
        async for _ in suite.stub.WatchTask(pb.WatchTaskRequest(task_id=task_id)):
            pass
    return await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id))


async def listed(suite: Suite, **fields: object) -> list[str]:
    response = await suite.stub.ListTasks(pb.ListTasksRequest(**fields))
    return [task.query for task in response.tasks]


async def test_a_task_is_returned_at_once_and_runs_in_the_background(suite: Suite) -> None:
    task = await suite.stub.CreateTask(pb.InvokeRequest(query="sleep:200\nHello"), timeout=5)

    assert (task.status, task.result) == ("running", "")
    assert (await ended(suite, task.task_id)).result == "Hello"


async def test_a_background_task_outlives_the_call_that_made_it(suite: Suite) -> None:
    request = pb.InvokeRequest(query="sleep:300\nHello", on_disconnect="cancel")
    task = await suite.stub.CreateTask(request, timeout=0.2)

    assert (await ended(suite, task.task_id)).status == "completed"


async def test_bad_requests_make_no_task(fresh: Suite) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fresh.stub.CreateTask(pb.InvokeRequest(query=" "), timeout=5)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert await listed(fresh) == []


async def test_tasks_are_listed_newest_first_by_pages_and_by_filter(fresh: Suite) -> None:
    for number in range(5):
        team = {"team": "even" if number % 2 == 0 else "odd"}
        query = f"task {number}" if number else "fail"
        task = await fresh.stub.CreateTask(pb.InvokeRequest(query=query, labels=team))
        await ended(fresh, task.task_id)

    first = await fresh.stub.ListTasks(pb.ListTasksRequest(page_size=2))
    token = first.next_page_token
    second = await fresh.stub.ListTasks(pb.ListTasksRequest(page_size=2, page_token=token))
    third = await listed(fresh, page_size=2, page_token=second.next_page_token)

    assert [task.query for task in first.tasks] == ["task 4", "task 3"]
    assert [task.query for task in second.tasks] == ["task 2", "task 1"]
    assert third == ["fail"]
    assert await listed(fresh, filter="status = failed") == ["fail"]
    assert await listed(fresh, filter="labels.team = odd") == ["task 3", "task 1"]
    even = 'labels.team = "even" AND NOT status = failed'
    assert await listed(fresh, filter=even) == ["task 4", "task 2"]
    assert await listed(fresh, filter="create_time > 2999-01-01") == []
    assert first.tasks[0].result == "task 4"


async def test_a_page_of_long_tasks_fits_into_an_answer() -> None:
    words = "w " * 30_000
    request = pb.InvokeRequest(query=words, tool_choice="none", sampling={"max_tokens": 1})
    async with started() as alone:
        for _ in range(80):
            await alone.stub.CreateTask(request, timeout=5)
        shown, token = [], ""
        while not shown or token:
            listing = pb.ListTasksRequest(page_size=1000, page_token=token)
            page = await alone.stub.ListTasks(listing, timeout=5)
            shown += [task.task_id for task in page.tasks]
            token = page.next_page_token

    assert len(shown) == len(set(shown)) == 80


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "PAGE_SIZE_INVALID"),
        ({"page_token": "abc"}, "PAGE_TOKEN_INVALID"),
        ({"filter": "secret = x"}, "FILTER_INVALID"),
        ({"filter": "status"}, "FILTER_INVALID"),
    ],
)
async def test_what_cannot_be_listed_is_refused(
    suite: Suite, fields: dict[str, object], reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.ListTasks(pb.ListTasksRequest(**fields))

    assert info(caught.value).reason == reason


async def test_a_page_token_belongs_to_its_filter(suite: Suite) -> None:
    for _ in range(2):
        await suite.stub.Invoke(pb.InvokeRequest(query="x"), timeout=5)
    first = await suite.stub.ListTasks(pb.ListTasksRequest(page_size=1))
    other = pb.ListTasksRequest(page_token=first.next_page_token, filter="status = failed")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.ListTasks(other)

    assert info(caught.value).reason == "PAGE_TOKEN_INVALID"


async def test_a_repeated_start_with_the_same_key_is_the_same_task(suite: Suite) -> None:
    request = pb.InvokeRequest(query="sleep:100\nonce", idempotency_key="k1")

    answers = await asyncio.gather(*(suite.stub.Invoke(request, timeout=5) for _ in range(4)))
    created = await suite.stub.CreateTask(request, timeout=5)
    streamed = [event async for event in suite.stub.StreamInvoke(request, timeout=5)]

    assert len({answer.task_id for answer in answers}) == 1
    assert {answer.result for answer in answers} == {"once"}
    assert (created.task_id, created.status) == (answers[0].task_id, "completed")
    assert streamed[-1].task_id == answers[0].task_id


async def test_a_key_can_come_as_metadata(suite: Suite) -> None:
    metadata = (("idempotency-key", "k2"),)
    request = pb.InvokeRequest(query="once")

    one = await suite.stub.Invoke(request, metadata=metadata, timeout=5)
    two = await suite.stub.Invoke(request, metadata=metadata, timeout=5)
    three = await suite.stub.Invoke(request, timeout=5)

    assert one.task_id == two.task_id != three.task_id


async def test_the_same_key_with_another_request_is_a_conflict(suite: Suite) -> None:
    first = await suite.stub.Invoke(pb.InvokeRequest(query="a", idempotency_key="k3"), timeout=5)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.Invoke(pb.InvokeRequest(query="b", idempotency_key="k3"), timeout=5)

    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert info(caught.value).reason == "IDEMPOTENCY_KEY_REUSED"
    assert info(caught.value).metadata["task_id"] == first.task_id


async def test_keys_are_their_owners_own(suite: Suite) -> None:
    request = pb.InvokeRequest(query="a", idempotency_key="k4")

    mine = await suite.stub.Invoke(request, timeout=5)
    hers = await suite.stub.Invoke(request, metadata=(("runplane-subject", "her"),), timeout=5)

    assert mine.task_id != hers.task_id


async def test_who_joined_a_task_by_its_key_does_not_cancel_it_by_leaving(suite: Suite) -> None:
    request = pb.InvokeRequest(query="sleep:500\ndone", idempotency_key="k5")
    first = suite.stub.StreamInvoke(request, timeout=5)
    await first.read()
    joined = suite.stub.StreamInvoke(request, timeout=5)
    await joined.read()
    joined.cancel()

    last = None
    while (event := await first.read()) != grpc.aio.EOF:
        last = event
    assert last is not None
    assert last.status == "completed"
