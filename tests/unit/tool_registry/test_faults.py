"""Calls that came to nothing: what opens a circuit, and what a default stands in for."""

import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.tool_registry.domain.call import Call, Outcome
from services.tool_registry.domain.targets import Client
from services.tool_registry.domain.tool import Default, ToolFailure
from services.tool_registry.usecases.calls import Calls
from tests.conftest import FakeClock
from tests.unit.tool_registry.fakes import (
    FAR,
    POLICY,
    FakeTool,
    Stubborn,
    Waiting,
    Work,
    asked,
    calls_of,
    echo,
    raising,
    returning,
)

BROKEN = ToolFailure("HTTP_STATUS", "the server answered 502", is_targets=True)
REFUSED = ToolFailure("DIVISION_BY_ZERO", "it divides by zero")
GONE = Unavailable("PEER_UNAVAILABLE", "gone")
SHORT = timedelta(milliseconds=5)


class Changing:
    """Work that a test changes."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def __call__(self, arguments: dict[str, object]) -> object:
        """Do what is set."""
        return await self.work(arguments)


async def reason(calls: Calls, call: Call | None = None) -> str:
    """Why a call came to nothing; empty if it did not."""
    try:
        outcome = await calls.call(call or asked())
    except ServiceError as error:
        return error.reason
    return outcome.failure.reason if outcome.failure else ""


async def reasons(calls: Calls, times: int) -> list[str]:
    async with asyncio.timeout(5):
        return [await reason(calls) for _ in range(times)]


@pytest.mark.parametrize("error", [BROKEN, GONE, DeadlineExceeded("DEADLINE_EXCEEDED", "late")])
async def test_faults_of_the_target_open_its_circuit(error: Exception) -> None:
    told = getattr(error, "reason", "")

    assert await reasons(calls_of(FakeTool(raising(error))), 3) == [told, told, "TOOL_CIRCUIT_OPEN"]


async def test_timeouts_open_it() -> None:
    calls = calls_of(FakeTool(Waiting(), timeout=SHORT))

    assert await reasons(calls, 3) == ["TOOL_TIMEOUT", "TOOL_TIMEOUT", "TOOL_CIRCUIT_OPEN"]


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        RuntimeError(),
        FailedPrecondition("SECRET_NOT_FOUND", "no"),
        InvalidArgument("INVALID_REQUEST", "no"),
        ResourceExhausted("PEER_OVERLOADED", "no"),
    ],
)
async def test_what_is_not_the_targets_fault_does_not(error: Exception) -> None:
    assert "TOOL_CIRCUIT_OPEN" not in await reasons(calls_of(FakeTool(raising(error))), 4)


async def test_callers_that_do_not_wait_do_not() -> None:
    calls = calls_of(FakeTool(Waiting()))

    async with asyncio.timeout(5):
        told = {await reason(calls, asked(timeout=SHORT)) for _ in range(4)}

    assert told == {"TOOL_TIMEOUT"}


async def test_input_that_is_refused_and_output_that_is_do_not() -> None:
    calls = calls_of(FakeTool(returning({1, 2})))

    told = [await reason(calls, asked(input={"text": 3})) for _ in range(3)]

    assert [*told, *await reasons(calls, 3)] == ["TOOL_INPUT_INVALID"] * 3 + [
        "TOOL_OUTPUT_INVALID"
    ] * 3


async def test_an_open_circuit_spares_the_tool_and_half_open_one_call_tries_it(
    clock: FakeClock,
) -> None:
    work = Changing(raising(BROKEN))
    tool = FakeTool(work)  # type: ignore[arg-type]
    calls = calls_of(tool, clock=clock)
    await reasons(calls, 5)
    made = len(tool.invocations)
    clock.advance(POLICY.pause)
    waiting = Waiting()
    work.work = waiting

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        trial = group.create_task(calls.call(asked()))
        await waiting.started.wait()
        others = await reasons(calls, 3)
        waiting.released.set()

    assert made == 2
    assert others == ["TOOL_CIRCUIT_OPEN"] * 3
    assert trial.result().failure is None
    work.work = echo
    assert await reasons(calls, 3) == [""] * 3


async def test_a_trial_that_is_cancelled_leaves_the_next_to_try(clock: FakeClock) -> None:
    work = Changing(raising(BROKEN))
    calls = calls_of(FakeTool(work), clock=clock)  # type: ignore[arg-type]
    await reasons(calls, 2)
    clock.advance(POLICY.pause)
    waiting = Waiting()
    work.work = waiting

    async with asyncio.timeout(5):
        trial = asyncio.ensure_future(calls.call(asked()))
        await waiting.started.wait()
        trial.cancel()
        await asyncio.wait([trial])
    work.work = echo

    assert await reasons(calls, 2) == ["", ""]


async def defaulted(tool: FakeTool, call: Call | None = None) -> Outcome:
    async with asyncio.timeout(5):
        return await calls_of(tool).call(call or asked())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BROKEN, "HTTP_STATUS: the server answered 502"),
        (REFUSED, "DIVISION_BY_ZERO: it divides by zero"),
        (GONE, "PEER_UNAVAILABLE: gone"),
        (ResourceExhausted("PEER_OVERLOADED", "429"), "PEER_OVERLOADED: 429"),
        (RuntimeError("1234"), "TOOL_FAILED"),
        (ToolFailure("X_Y", "a\nb" + "c" * 1000), "X_Y: a b"),
    ],
)
async def test_a_default_is_answered_with_why(error: Exception, told: str) -> None:
    outcome = await defaulted(FakeTool(raising(error), default=Default({"n": 1})))

    assert (outcome.result, outcome.failure) == ({"n": 1}, None)
    assert [each.code for each in outcome.warnings] == ["TOOL_DEFAULTED"]
    message = outcome.warnings[0].message
    assert told in message
    assert "1234" not in message
    assert "\n" not in message
    assert len(message) < 400


async def test_a_default_may_be_null() -> None:
    outcome = await defaulted(FakeTool(raising(GONE), default=Default(None)))

    assert (outcome.result, outcome.failure, len(outcome.warnings)) == (None, None, 1)


async def test_a_default_is_answered_when_the_tool_is_late_or_breaks_its_word() -> None:
    late = await defaulted(FakeTool(Waiting(), timeout=SHORT, default=Default(0)))
    broken = await defaulted(FakeTool(returning({1}), default=Default(0)))

    assert "TOOL_TIMEOUT" in late.warnings[0].message
    assert "TOOL_OUTPUT_INVALID" in broken.warnings[0].message


async def test_a_default_is_answered_while_the_circuit_is_open() -> None:
    calls = calls_of(FakeTool(raising(BROKEN), default=Default(0)))
    await reasons(calls, 2)

    outcome = await calls.call(asked())

    assert outcome.result == 0
    assert "TOOL_CIRCUIT_OPEN" in outcome.warnings[0].message


async def test_a_default_is_answered_while_the_tool_is_not_to_be_had() -> None:
    outcome = await defaulted(FakeTool(unavailable="its server is gone", default=Default(0)))

    assert "its server is gone" in outcome.warnings[0].message


async def test_a_default_is_answered_for_too_many_calls_of_the_tool_and_of_no_other() -> None:
    work = Waiting()
    busy = FakeTool(work, max_concurrency=1, default=Default(0))
    many = [FakeTool(work, name=name) for name in ("a", "b")]
    calls = calls_of(busy, *many, FakeTool(name="c", default=Default(0)))

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for name in ("fake", "a", "a", "a", "a", "b", "b", "b"):
            group.create_task(calls.call(asked(name)))
        await work.started.wait()
        of_tool = await calls.call(asked())
        of_service = await reason(calls, asked("c"))
        work.released.set()

    assert of_tool.result == 0
    assert of_service == "TOOLS_OVERLOADED"


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (NotFound("TASK_NOT_FOUND", "no"), asked()),
        (FailedPrecondition("SECRET_NOT_FOUND", "no"), asked()),
        (InvalidArgument("INVALID_REQUEST", "no"), asked()),
        (BROKEN, asked(input={"text": 3})),
        (BROKEN, asked("other")),
    ],
)
async def test_no_default_hides_what_the_caller_or_the_set_up_got_wrong(
    error: Exception, call: Call
) -> None:
    with pytest.raises(ServiceError):
        await defaulted(FakeTool(raising(error), default=Default(0)), call)


async def test_a_call_that_is_cancelled_has_no_default() -> None:
    work = Waiting()
    call = asyncio.ensure_future(defaulted(FakeTool(work, default=Default(0))))

    async with asyncio.timeout(5):
        await work.started.wait()
        call.cancel()
        await asyncio.wait([call])

    assert call.cancelled()


async def test_a_tool_that_is_not_to_be_had_is_not_called() -> None:
    tool = FakeTool(unavailable="its server is gone")

    with pytest.raises(Unavailable) as caught:
        await calls_of(tool).call(asked())

    assert caught.value.reason == "TOOL_UNAVAILABLE"
    assert "its server is gone" in caught.value.message
    assert caught.value.retry_after == timedelta(seconds=1)
    assert tool.invocations == []


async def test_a_clients_tool_is_refused_with_what_to_do() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await calls_of(FakeTool(kept={"target": Client()})).call(asked())

    assert caught.value.reason == "TOOL_RUNS_AT_CLIENT"
    assert "task" in caught.value.metadata["suggested_fix"]


@pytest.mark.parametrize(
    ("message", "told"), [("use other", "use other"), ("", "fake is deprecated")]
)
async def test_a_deprecated_tool_is_called_and_says_so(message: str, told: str) -> None:
    tool = FakeTool(kept={"is_deprecated": True, "deprecation": message})

    outcome = await calls_of(tool).call(asked())

    assert [(each.code, each.message) for each in outcome.warnings] == [("TOOL_DEPRECATED", told)]


async def test_tools_that_do_not_stop_fill_their_own_places_only() -> None:
    work = Stubborn()
    calls = calls_of(FakeTool(work, max_concurrency=2, kept=FAR), FakeTool(name="other"))

    async with asyncio.timeout(5):
        told = [await reason(calls, asked(timeout=SHORT)) for _ in range(3)]
        other = await reason(calls, asked("other"))
        work.released.set()

    assert told == ["TOOL_TIMEOUT", "TOOL_TIMEOUT", "TOOLS_OVERLOADED"]
    assert other == ""


async def test_a_call_without_time_is_not_begun() -> None:
    tool = FakeTool()

    told = await reason(calls_of(tool), asked(time_left=timedelta(0)))

    assert told == "TOOL_TIMEOUT"
    assert tool.invocations == []


@pytest.mark.parametrize(
    ("failure", "is_uncertain"),
    [
        (BROKEN, True),
        (ToolFailure("TOOL_OUTPUT_INVALID", "that is no result"), True),
        (ToolFailure("TOOL_RESULT_TOO_LARGE", "that is too much"), True),
        (ToolFailure("TOOL_FAILED", "it failed on the inside"), True),
        (ToolFailure("HTTP_STATUS", "the server answered 422"), False),
        (REFUSED, False),
    ],
)
def test_a_failure_says_whether_it_may_have_been_done(
    failure: ToolFailure, is_uncertain: bool
) -> None:
    assert failure.is_uncertain is is_uncertain
