import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import (
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.orchestrator.calls import Caller
from services.orchestrator.domain.task import Call
from services.orchestrator.domain.tool import Tool
from services.orchestrator.retries import ATTEMPTS
from services.orchestrator.toolports import Returned
from tests.unit.orchestrator.fakes import FakeTools, tool

GONE = Unavailable("PEER_UNAVAILABLE", "gone")
FULL = ResourceExhausted("TOOL_OVERLOADED", "full").after(timedelta(seconds=2))
OPEN_SECONDS = 2.0
OPEN = Unavailable("TOOL_CIRCUIT_OPEN", "it failed too often").after(
    timedelta(seconds=OPEN_SECONDS)
)
REFUSED = InvalidArgument("TOOL_INPUT_INVALID", "no")
DONE = Returned({"value": 84}, None, 1.0)


async def called(
    tools: FakeTools, known: Tool, *, name: str = "look", seconds_left: float = 30
) -> Returned:
    caller = Caller(tools, {known.name: known}, lambda: seconds_left)
    async with asyncio.timeout(60):
        return await caller.call(Call("call_1", name, {"at": 1}))


@pytest.mark.parametrize("error", [GONE, FULL], ids=lambda each: each.code)
async def test_a_harmless_call_is_made_again_after_a_passing_failure(error: ServiceError) -> None:
    tools = FakeTools(ends=[error, error, DONE])

    returned = await called(tools, tool())

    assert returned is DONE
    assert tools.called == [("look", {"at": 1})] * 3


async def test_a_call_is_made_so_often_and_no_more() -> None:
    tools = FakeTools(ends=[GONE] * 9)

    with pytest.raises(Unavailable):
        await called(tools, tool())

    assert len(tools.called) == ATTEMPTS


async def test_a_call_that_may_have_done_something_is_not_made_again() -> None:
    tools = FakeTools(ends=[GONE, DONE])

    with pytest.raises(Unavailable):
        await called(tools, tool(is_idempotent=False))

    assert len(tools.called) == 1


async def test_a_call_that_was_not_taken_is_made_again_whatever_it_does() -> None:
    tools = FakeTools(ends=[FULL, DONE])

    returned = await called(tools, tool(is_idempotent=False))

    assert returned is DONE


async def test_a_call_that_was_refused_is_not_made_again() -> None:
    tools = FakeTools(ends=[REFUSED, DONE])

    with pytest.raises(InvalidArgument):
        await called(tools, tool())

    assert len(tools.called) == 1


async def test_a_call_that_was_not_let_through_is_made_again_whatever_it_does() -> None:
    tools = FakeTools(ends=[OPEN, DONE])

    returned = await called(tools, tool(is_idempotent=False))

    assert returned is DONE


async def test_nobody_waits_for_a_tool_longer_than_the_task_has_time() -> None:
    tools = FakeTools(ends=[OPEN, DONE])

    with pytest.raises(Unavailable):
        await called(tools, tool(), seconds_left=OPEN_SECONDS / 2)

    assert len(tools.called) == 1


async def test_a_call_has_one_key_however_often_it_is_made() -> None:
    tools = FakeTools(ends=[GONE, GONE, DONE])

    await called(tools, tool())

    assert [each.idempotency_key for each in tools.invocations] == ["call_1"] * 3


async def test_a_call_with_answers_is_another_one_to_its_tool() -> None:
    tools, given = FakeTools(), {"day": {"action": "decline"}}
    call = Call("call_1", "look", {}, rounds=2, responses=given, request_state="sealed")

    await Caller(tools, {"look": tool()}, lambda: 30).call(call)

    (made,) = tools.invocations
    assert (made.idempotency_key, made.call_id) == ("call_1-2", "call_1")
    assert (made.responses, made.request_state) == (given, "sealed")


async def test_a_call_is_made_in_the_version_it_was_asked_in() -> None:
    tools = FakeTools()

    await Caller(tools, {"look": tool()}, lambda: 30).call(
        Call("call_1", "look", {}, tool_version="0.9.0")
    )

    assert [each.tool.version for each in tools.invocations] == ["0.9.0"]


async def test_the_next_call_comes_no_sooner_than_it_was_asked_to() -> None:
    now = asyncio.get_running_loop().time
    start = now()

    await called(FakeTools(ends=[FULL, DONE]), tool())

    assert now() - start >= 2


async def test_a_tool_that_was_not_given_is_not_called() -> None:
    tools = FakeTools()

    with pytest.raises(NotFound) as caught:
        await called(tools, tool(), name="teleport")

    assert caught.value.reason == "TOOL_NOT_FOUND"
    assert tools.called == []


@pytest.mark.parametrize(("seconds_left", "timeout"), [(30, 2.0), (1.5, 1.5)])
async def test_a_call_ends_with_the_task_at_the_latest(seconds_left: float, timeout: float) -> None:
    tools = FakeTools()

    await called(tools, tool(), seconds_left=seconds_left)

    assert tools.timeouts == [timeout]
