"""Callers whose time is over before the task is: partial answers, and waiting once more."""

from datetime import timedelta

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.sealing import Seal
from services.orchestrator.marks import Marks
from tests.conftest import FakeClock
from tests.integration.orchestrator.conftest import Suite

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = 'tool:calculator {"expression": "12*7"}'
SLOW = f'{FIRST}\n\nsleep:600\ntool:calculator {{"expression": "1+1"}}\n84'


async def refusal(suite: Suite, mark: str, subject: str = "local") -> tuple[object, str]:
    info = ErrorInfo()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.stub.ContinueTask(
            pb.ContinueTaskRequest(continue_mark=mark),
            metadata=(("runplane-subject", subject),),
            timeout=5,
        )
    status = rpc_status.from_call(caught.value)
    assert status is not None
    status.details[0].Unpack(info)
    return caught.value.code(), info.reason


async def test_a_caller_whose_time_is_over_gets_what_there_is_and_a_mark(suite: Suite) -> None:
    query = SLOW.replace("sleep:600", "sleep:3000")

    answer = await suite.stub.Invoke(pb.InvokeRequest(query=query), timeout=2)

    assert (answer.status, answer.result) == ("partial", "")
    assert answer.HasField("partial_result")
    assert answer.retry_after == 3000
    task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=answer.task_id))
    assert task.status == "running"


async def test_continuing_waits_for_the_same_task_and_runs_no_step_again(suite: Suite) -> None:
    first = await suite.stub.Invoke(pb.InvokeRequest(query=SLOW, timeout_ms=100), timeout=5)
    mark = pb.ContinueTaskRequest(continue_mark=first.continue_mark, timeout_ms=50)
    second = await suite.stub.ContinueTask(mark, timeout=5)
    again = pb.ContinueTaskRequest(continue_mark=second.continue_mark)
    third = await suite.stub.ContinueTask(again, timeout=5)

    assert [first.status, second.status, third.status] == ["partial", "partial", "completed"]
    assert len({first.task_id, second.task_id, third.task_id}) == 1
    assert third.result == "84"
    request = pb.WatchTaskRequest(task_id=first.task_id)
    events = [event async for event in suite.stub.WatchTask(request, timeout=5)]
    calls = [event.step_id for event in events if event.type == "tool_call"]
    assert calls == ["step_1", "step_2"]


async def test_leaving_while_continuing_leaves_the_task_alone(suite: Suite) -> None:
    first = await suite.stub.Invoke(pb.InvokeRequest(query=SLOW, timeout_ms=50), timeout=5)
    mark = pb.ContinueTaskRequest(continue_mark=first.continue_mark)
    call = suite.stub.ContinueTask(mark, timeout=5)
    await call.wait_for_connection()
    call.cancel()

    assert (await suite.stub.ContinueTask(mark, timeout=5)).status == "completed"


async def test_a_mark_is_its_owners_own(suite: Suite) -> None:
    answer = await suite.stub.Invoke(pb.InvokeRequest(query=SLOW, timeout_ms=50), timeout=5)

    refused = await refusal(suite, answer.continue_mark, subject="her")

    assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "CONTINUE_MARK_INVALID")


@pytest.mark.parametrize("mark", ["", "x", "AAAA" * 40, "x" * 100_000])
async def test_what_is_no_mark_is_refused(suite: Suite, mark: str) -> None:
    code, reason = await refusal(suite, mark)

    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTINUE_MARK_INVALID")


async def test_a_mark_expires_and_says_which_task_it_was(suite: Suite) -> None:
    clock = FakeClock()
    old = Marks(Seal(bytes.fromhex("11" * 32)), clock)
    mark = old.made("task_1", tenant="default", owner="local")
    clock.advance(timedelta(hours=2))

    code, reason = await refusal(suite, mark)

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CONTINUE_MARK_EXPIRED")
