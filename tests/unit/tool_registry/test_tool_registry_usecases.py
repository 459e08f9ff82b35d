"""Calls: bounds of time, number and size, and what becomes of each failure."""

import asyncio
import logging
import math
from datetime import timedelta

import pytest

from services.chassis.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.schema import Schema
from services.tool_registry.domain.call import Outcome, allowed, checked_id, timeout_of
from services.tool_registry.domain.tool import ToolFailure
from services.tool_registry.usecases.shelves import Builtins
from tests.unit.tool_registry.fakes import (
    FakeTool,
    Waiting,
    Work,
    asked,
    calls_of,
    raising,
    returning,
)


async def outcome_of(work: Work, output: Schema | None = None) -> Outcome:
    tool = FakeTool(work, output=output) if output else FakeTool(work)
    return await calls_of(tool).call(asked())


async def reason_of(work: Work, output: Schema | None = None) -> str:
    outcome = await outcome_of(work, output)
    assert outcome.result is None
    assert outcome.failure is not None
    return outcome.failure.reason


async def test_a_misspelt_tool_is_recognised() -> None:
    with pytest.raises(NotFound) as caught:
        await Builtins([FakeTool(name="calculator")]).find("default", "Calculater")

    assert caught.value.reason == "TOOL_NOT_FOUND"
    assert caught.value.metadata["field"] == "name"
    assert caught.value.metadata["suggested_fix"] == "use calculator"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "tool\n", "ü", "../x"])
async def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await Builtins([FakeTool()]).find("default", name)

    assert caught.value.metadata["field"] == "name"


async def test_a_call_has_a_result_an_id_and_a_time() -> None:
    outcome = await calls_of(FakeTool()).call(asked(input={"text": "hello"}))

    assert (outcome.id, outcome.result, outcome.failure) == ("call_new", {"text": "hello"}, None)
    assert outcome.latency > timedelta(0)


async def test_the_callers_id_is_kept() -> None:
    assert (await calls_of(FakeTool()).call(asked(id="call_1"))).id == "call_1"


@pytest.mark.parametrize("call_id", ["a b", "x" * 65, "é"])
def test_what_is_no_id_is_refused(call_id: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_id(call_id)

    assert caught.value.metadata["field"] == "tool_call_id"


async def test_input_that_breaks_the_schema_never_reaches_the_tool() -> None:
    with pytest.raises(InvalidArgument) as caught:
        await calls_of(FakeTool(raising(AssertionError()))).call(asked(input={"text": 3}))

    assert caught.value.reason == "TOOL_INPUT_INVALID"
    assert caught.value.metadata["field"] == "input.text"
    assert caught.value.metadata["schema_path"] == "/properties/text/type"
    assert caught.value.metadata["suggested_fix"]


async def test_what_the_tool_could_not_do_is_in_the_outcome() -> None:
    outcome = await outcome_of(raising(ToolFailure("NO_WAY", "it cannot be", "try this")))

    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.failure.suggested_fix) == ("NO_WAY", "try this")


async def test_an_unexpected_error_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcome = await outcome_of(raising(RuntimeError("the password is 1234")))

    assert outcome.failure is not None
    assert outcome.failure.reason == "TOOL_FAILED"
    assert "1234" not in outcome.failure.message + outcome.failure.suggested_fix
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


async def test_a_timeout_of_the_tools_own_is_its_fault() -> None:
    assert await reason_of(raising(TimeoutError())) == "TOOL_FAILED"


async def test_what_a_tool_needs_and_lacks_is_the_callers_to_retry() -> None:
    with pytest.raises(Unavailable):
        await outcome_of(raising(Unavailable("PEER_UNAVAILABLE", "gone")))


@pytest.mark.parametrize("value", [math.nan, {1}, object(), 2**53 + 1, [1e300], b"x", "\ud800"])
async def test_a_result_that_is_not_portable_json_is_the_tools_fault(value: object) -> None:
    assert await reason_of(returning(value)) == "TOOL_OUTPUT_INVALID"


async def test_a_result_that_breaks_the_schema_is_the_tools_fault() -> None:
    output = Schema({"type": "string"}, field="output")

    assert await reason_of(returning(3), output) == "TOOL_OUTPUT_INVALID"


@pytest.mark.parametrize("levels", [61, 5000])
async def test_a_result_that_is_too_deep_is_the_tools_fault(levels: int) -> None:
    value: object = 1
    for _ in range(levels):
        value = [value]

    assert await reason_of(returning(value)) in {"TOOL_OUTPUT_INVALID", "TOOL_RESULT_TOO_LARGE"}


async def test_a_result_beyond_the_limit_is_refused() -> None:
    assert (await outcome_of(returning("x" * 998))).failure is None
    assert await reason_of(returning("x" * 999)) == "TOOL_RESULT_TOO_LARGE"


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": timedelta(milliseconds=1)},
        {"time_left": timedelta(milliseconds=1)},
        {"time_left": timedelta(seconds=-1)},
    ],
)
async def test_a_tool_that_takes_too_long_is_stopped(limits: dict[str, object]) -> None:
    work = Waiting()

    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded) as caught:
            await calls_of(FakeTool(work)).call(asked(**limits))

    assert caught.value.reason == "TOOL_TIMEOUT"
    assert caught.value.metadata["tool"] == "fake"
    assert work.stopped.is_set() or not work.started.is_set()


async def test_a_tool_has_a_timeout_of_its_own() -> None:
    tool = FakeTool(Waiting(), timeout=timedelta(milliseconds=1))

    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded):
            await calls_of(tool).call(asked(timeout=timedelta(hours=1)))


async def test_cancelling_a_call_stops_the_tool_and_frees_its_place() -> None:
    work = Waiting()
    tools = calls_of(FakeTool(work))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(3):  # More than would fit if places were kept.
            calls = [group.create_task(tools.call(asked())) for _ in range(4)]
            await work.started.wait()
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            work.started.clear()

    assert work.stopped.is_set()
    assert all(call.cancelled() for call in calls)


async def test_calls_beyond_the_limit_of_a_tool_are_refused_and_others_are_not() -> None:
    work = Waiting()
    tools = calls_of(FakeTool(work), FakeTool(name="other"))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        calls = [group.create_task(tools.call(asked())) for _ in range(4)]
        await work.started.wait()
        with pytest.raises(ResourceExhausted) as caught:
            await tools.call(asked())
        other = await tools.call(asked("other"))
        work.released.set()

    assert caught.value.reason == "TOOLS_OVERLOADED"
    assert caught.value.retry_after == timedelta(milliseconds=100)
    assert other.failure is None
    assert all(call.result().failure is None for call in calls)


async def test_calls_beyond_the_limit_of_all_tools_are_refused() -> None:
    work = Waiting()
    tools = calls_of(*(FakeTool(work, name=name) for name in "abc"))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for name in "aaaabbbb":
            group.create_task(tools.call(asked(name)))
        await work.started.wait()
        with pytest.raises(ResourceExhausted):
            await tools.call(asked("c"))
        work.released.set()


@pytest.mark.parametrize("milliseconds", [0, -1, math.nan, math.inf, 3_600_001, 1e300])
def test_what_is_no_time_to_wait_is_refused(milliseconds: float) -> None:
    with pytest.raises(InvalidArgument) as caught:
        timeout_of(milliseconds)

    assert caught.value.metadata["field"] == "timeout_ms"
    assert caught.value.metadata["suggested_fix"]


def test_the_shortest_time_counts() -> None:
    definition = FakeTool(timeout=timedelta(seconds=5)).entry.definition
    second, minute = timedelta(seconds=1), timedelta(minutes=1)

    assert allowed(asked(), definition) == timedelta(seconds=5)
    assert allowed(asked(timeout=second, time_left=minute), definition) == second
    assert allowed(asked(timeout=minute, time_left=minute), definition) == timedelta(seconds=5)
    assert allowed(asked(time_left=second), definition) == timedelta(milliseconds=950)


@pytest.mark.parametrize("name", ["read_result", "agent__x", "no name", ""])
def test_a_tool_that_callers_could_not_tell_from_their_own_is_refused_at_start(name: str) -> None:
    with pytest.raises((AlreadyExists, InvalidArgument)) as caught:
        calls_of(FakeTool(name=name))

    assert name in caught.value.message
