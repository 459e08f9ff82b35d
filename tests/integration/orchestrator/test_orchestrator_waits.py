"""Tasks that wait: for an approval, or to be continued."""

import json
from datetime import timedelta
from typing import Any

import grpc
import pytest
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.inference.settings import EchoSettings
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.places import BRIEFLY, parked
from tests.integration.orchestrator.talks import (
    CALCULATE,
    call_in,
    log_of,
    start,
    state_of,
    talk,
)
from tests.integration.orchestrator.test_orchestrator_agents import created

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_call_that_needs_approval_waits_for_it_and_runs_then(suite: Suite) -> None:
    async with talk(suite, **start(CALCULATE, approval_tools=["calculator"])) as it:
        asked = await it.until("approval_required")
        waits = await it.until("status_changed")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True))
        await it.rest()

    assert (asked.tool_name, waits.status, waits.wants) == ("calculator", "waiting", "approval")
    after = it.types()[it.types().index("status_changed") + 1 :]
    assert after[:3] == ["status_changed", "approval_decided", "tool_result"]
    assert it.events[-1].status == "completed"
    assert it.events[-1].metrics.tokens_used > 0


async def test_a_denial_is_told_to_the_model(suite: Suite) -> None:
    async with talk(suite, **start(CALCULATE, approval_tools=["*"])) as it:
        asked = await it.until("approval_required")
        denial = pb.ToolApproval(tool_call_id=asked.tool_call_id, comment="not today")
        await it.say(approval=denial)
        result = await it.until("tool_result")
        await it.rest()

    assert result.status == "error"
    assert result.error.error_code == "TOOL_CALL_DENIED"
    assert "not today" in result.error.message
    assert it.events[-1].status == "completed"


async def test_calls_that_need_no_approval_do_not_wait_for_those_that_do(suite: Suite) -> None:
    both = 'tool:calculator {"expression": "1+1"}\ntool:current_time {"timezone": "UTC"}\nok'
    async with talk(suite, **start(both, approval_tools=["calculator"])) as it:
        asked = await it.until("approval_required")
        result = await it.until("tool_result")
        await it.until("status_changed")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True))
        await it.rest()

    assert result.tool_name == "current_time"
    assert it.events[-1].status == "completed"


async def test_a_stream_whose_time_is_over_leaves_a_task_that_waits(suite: Suite) -> None:
    asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
    events = suite.stub.StreamInvoke(asked, timeout=1)
    task_id = (await anext(aiter(events))).task_id

    refused = await code_of(events)

    assert refused is grpc.StatusCode.DEADLINE_EXCEEDED
    task = await suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)
    assert task.status == "waiting"
    assert task.deadline.ToDatetime() - task.create_time.ToDatetime() > timedelta(hours=23)
    call_id = await call_in(suite, task_id, "approval_required")
    yes = pb.ApproveToolCallRequest(task_id=task_id, tool_call_id=call_id)
    await suite.stub.ApproveToolCall(yes, timeout=5)
    assert (await state_of(suite, task_id, "completed", "canceled")).status == "completed"


async def code_of(events: Any) -> grpc.StatusCode:
    """How a stream fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in events:
            pass
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_an_approval_by_rpc_is_heard_before_it_is_answered(suite: Suite) -> None:
    asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
    task = await suite.stub.CreateTask(asked, timeout=5)
    await state_of(suite, task.task_id, "waiting")
    call_id = await call_in(suite, task.task_id, "approval_required")
    request = pb.ApproveToolCallRequest(task_id=task.task_id, tool_call_id=call_id, comment="yes")

    first = await suite.stub.ApproveToolCall(request, timeout=5)

    assert first.status in ("running", "completed")
    ended = await state_of(suite, task.task_id, "completed")
    assert ended.result == "12*7 is 84."
    decided = [e for e in await log_of(suite, task.task_id) if e.type == "approval_decided"]
    assert [(e.approved, e.author, e.comment) for e in decided] == [(True, "local", "yes")]


async def test_an_agent_may_need_an_approval_that_its_request_does_not_ask_for(
    suite: Suite,
) -> None:
    await created(suite, "careful", approval_tools=["calculator"])
    async with talk(suite, **start(CALCULATE, agent_id="careful")) as it:
        asked = await it.until("approval_required")
        await it.say(approval=pb.ToolApproval(tool_call_id=asked.tool_call_id, approved=True))
        await it.rest()

    assert list(it.events[0].request.approval_tools) == ["calculator"]
    assert it.events[-1].status == "completed"


async def test_a_child_waits_for_an_approval_and_its_parent_for_the_child() -> None:
    async with started(BRIEFLY) as suite:
        await created(suite, "guarded", approval_tools=["*"])
        await created(suite, "asker", tools=["agent__guarded"])
        query = f"tool:agent__guarded {json.dumps({'query': CALCULATE})}\nIt says so."
        asking = start(query, agent_id="asker", timeout_ms=5000)
        async with parked() as nobodys, talk(suite, **asking) as it:
            told = await it.until("child_status_changed")
            waits = await it.until("status_changed")
            parent = await suite.stub.GetTask(pb.GetTaskRequest(task_id=told.task_id), timeout=5)
            (pending,) = parent.pending_requests
            child = pending.child_task_id
            call_id = await call_in(suite, child, "approval_required")
            for task_id in (child, told.task_id):
                await nobodys.of(task_id)
            yes = pb.ApproveToolCallRequest(task_id=child, tool_call_id=call_id)
            await suite.stub.ApproveToolCall(yes, timeout=5)
            goes_on = await it.until("child_status_changed")
            await it.rest()

        assert (told.status, told.wants, told.child_task_id) == ("waiting", "approval", child)
        assert (waits.status, waits.wants) == ("waiting", "child")
        assert (pending.wants, pending.tool_name) == ("child", "agent__guarded")
        assert parent.deadline.ToDatetime() - parent.create_time.ToDatetime() > timedelta(hours=23)
        assert (goes_on.status, goes_on.child_task_id) == ("running", child)
        result = next(event for event in it.events if event.type == "tool_result")
        assert (result.status, it.events[-1].status) == ("success", "completed")


async def test_a_child_that_nobody_answers_is_a_failed_call_of_its_parent() -> None:
    soon = TaskSettings(max_wait=timedelta(seconds=1), look=timedelta(milliseconds=50))
    async with started(soon) as suite:
        await created(suite, "guarded", approval_tools=["*"])
        await created(suite, "asker", tools=["agent__guarded"])
        query = f"tool:agent__guarded {json.dumps({'query': CALCULATE})}\nSo be it."
        async with talk(suite, **start(query, agent_id="asker")) as it:
            await it.rest()

    result = next(event for event in it.events if event.type == "tool_result")
    assert result.error.error_code == "TASK_WAIT_EXPIRED"
    assert it.events[-1].status == "completed"


async def test_a_cancel_of_a_task_that_waits_for_its_child_ends_both() -> None:
    async with started(BRIEFLY) as suite:
        await created(suite, "guarded", approval_tools=["*"])
        await created(suite, "asker", tools=["agent__guarded"])
        query = f"tool:agent__guarded {json.dumps({'query': CALCULATE})}\nIt says so."
        asked = pb.InvokeRequest(query=query, agent_id="asker")
        task = await suite.stub.CreateTask(asked, timeout=5)
        waits = await state_of(suite, task.task_id, "waiting")
        cancel = pb.CancelTaskRequest(task_id=task.task_id)
        ended = await suite.stub.CancelTask(cancel, timeout=5)
        child_id = waits.pending_requests[0].child_task_id
        child = await suite.stub.GetTask(pb.GetTaskRequest(task_id=child_id), timeout=5)

    assert (ended.status, child.status) == ("canceled", "canceled")


async def test_a_task_that_waits_holds_no_place_and_no_claim(suite: Suite) -> None:
    one = BRIEFLY.model_copy(update={"max_running": 1, "max_queued": 0})
    async with started(one) as small, parked() as nobodys:
        asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
        task = await small.stub.CreateTask(asked, timeout=5)
        await nobodys.of(task.task_id)
        answer = await small.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5)
        call_id = await call_in(small, task.task_id, "approval_required")
        deny = pb.DenyToolCallRequest(task_id=task.task_id, tool_call_id=call_id)
        await small.stub.DenyToolCall(deny, timeout=5)

        ended = await state_of(small, task.task_id, "completed", "failed")

    assert (answer.result, ended.status) == ("Hello", "completed")


@pytest.mark.parametrize("is_parked", [False, True])
async def test_a_task_that_waits_can_be_cancelled_and_cancelled_again(is_parked: bool) -> None:
    linger = BRIEFLY if is_parked else TaskSettings()
    async with started(linger) as suite, parked() as nobodys:
        asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
        task = await suite.stub.CreateTask(asked, timeout=5)
        await state_of(suite, task.task_id, "waiting")
        if is_parked:
            await nobodys.of(task.task_id)
        request = pb.CancelTaskRequest(task_id=task.task_id, reason="enough")
        canceled = await suite.stub.CancelTask(request, timeout=5)
        again = await suite.stub.CancelTask(request, timeout=5)
        events = await log_of(suite, task.task_id)

    assert (canceled.status, again.status) == ("canceled", "canceled")
    assert (events[-1].status, events[-1].comment) == ("canceled", "enough")
    assert "tool_result" not in [event.type for event in events]


async def test_a_task_may_pause_when_its_callers_time_is_over(suite: Suite) -> None:
    query = 'tool:calculator {"expression": "12*7"}\n\nsleep:400\n84'
    asked = pb.InvokeRequest(query=query, timeout_ms=200, on_deadline="pause")
    answer = await suite.stub.Invoke(asked, timeout=5)
    paused = await state_of(suite, answer.task_id, "waiting", "completed")
    mark = pb.ContinueTaskRequest(continue_mark=answer.continue_mark)

    whole = await suite.stub.ContinueTask(mark, timeout=5)

    assert (answer.status, paused.status) == ("partial", "waiting")
    assert (whole.status, whole.result) == ("completed", "84")
    events = await log_of(suite, answer.task_id)
    assert [e.step_id for e in events if e.type == "tool_call"] == ["step_1"]
    changes = [(e.status, e.wants) for e in events if e.type == "status_changed"]
    assert changes == [("waiting", "continue"), ("running", "")]


async def test_a_text_that_was_paused_goes_on_where_it_stopped() -> None:
    text = " ".join(f"word{number}" for number in range(60))
    async with started(echo=EchoSettings(delay=timedelta(milliseconds=40))) as suite:
        asked = pb.InvokeRequest(query=text, timeout_ms=1_200, on_deadline="pause")
        answer = await suite.stub.Invoke(asked, timeout=5)
        await state_of(suite, answer.task_id, "waiting")
        mark = pb.ContinueTaskRequest(continue_mark=answer.continue_mark)
        whole = await suite.stub.ContinueTask(mark, timeout=5)
        events = await log_of(suite, answer.task_id)

    assert (answer.status, whole.status, whole.result) == ("partial", "completed", text)
    assert 0 < len(answer.partial_result) < len(text)
    assert "".join(event.text for event in events if event.type == "message_delta") == text
    assert "step_abandoned" not in [event.type for event in events]


async def test_waiting_does_not_count_and_does_not_last_for_ever() -> None:
    short = TaskSettings(
        duration=timedelta(milliseconds=300),
        max_wait=timedelta(seconds=1),
        look=timedelta(milliseconds=50),
    )
    async with started(short) as suite:
        asked = pb.InvokeRequest(query=CALCULATE, approval_tools=["calculator"])
        task = await suite.stub.CreateTask(asked, timeout=5)
        ended = await state_of(suite, task.task_id, "failed", "completed")

    assert ended.error.error_code == "TASK_WAIT_EXPIRED"
    assert ended.metrics.total_duration_ms > 900
