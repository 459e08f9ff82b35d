import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServiceError,
    Unavailable,
)
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.task import State, Task
from services.orchestrator.run import Run
from services.orchestrator.usecases.tasks import Answer
from tests.unit.orchestrator.fakes import (
    MODEL,
    NOW,
    REQUEST,
    Bench,
    FakeTools,
    bench,
    caller,
    end_of,
    pass_time,
    tool,
)

SECOND = timedelta(seconds=1)
LONG = timedelta(seconds=20)
GONE = Unavailable("EVENT_STORE_UNAVAILABLE", "gone")


def only(it: Bench) -> Run:
    """The one run there is."""
    (run,) = it.worker._runs.values()
    return run


async def answered(it: Bench, time_left: timedelta | None = None, **changes: Any) -> Answer:
    request = replace(REQUEST, **changes)
    return await it.tasks.invoke(request, caller(time_left=time_left), default_timeout=LONG)


async def invoked(it: Bench, time_left: timedelta | None = None, **changes: Any) -> Task:
    return (await answered(it, time_left, **changes)).task


@pytest.mark.parametrize("on_disconnect", ["", "continue"])
async def test_a_task_does_not_end_with_its_callers_time(on_disconnect: str) -> None:
    go = asyncio.Event()
    async with bench((go, "Hello")) as it:
        answer = await answered(it, SECOND, on_disconnect=on_disconnect)
        run = only(it)
        await pass_time(10)
        go.set()
        task = await end_of(run)

    assert answer.mark
    assert answer.task.state is State.RUNNING
    assert run.spec.deadline == NOW + LONG
    assert (task.state, task.text) == (State.COMPLETED, "Hello")


@pytest.mark.parametrize(
    ("time_left", "timeout_ms", "seconds"),
    [(None, None, 20), (None, 3000, 3), (SECOND, None, 0.95), (LONG, 3000, 3)],
)
async def test_who_waits_too_short_is_answered_in_time_with_what_there_is(
    time_left: timedelta | None, timeout_ms: float | None, seconds: float
) -> None:
    async with bench(("One, ", asyncio.Event())) as it:
        began = it.now()
        answer = await answered(
            it, time_left, timeout_ms=timeout_ms, duration_ms=60_000, on_disconnect="continue"
        )
        took = it.now() - began

    assert (answer.task.text, bool(answer.mark)) == ("One, ", True)
    assert took == pytest.approx(seconds)


async def test_a_task_that_is_done_in_time_needs_no_mark() -> None:
    async with bench(("Hello",)) as it:
        answer = await answered(it, SECOND)

    assert (answer.task.state, answer.task.text, answer.mark) == (State.COMPLETED, "Hello", "")


async def test_a_mark_waits_for_the_end_and_leaving_it_does_no_harm() -> None:
    go = asyncio.Event()
    async with bench((go, "Hello")) as it:
        mark = (await answered(it, SECOND)).mark
        waiting = asyncio.create_task(
            it.tasks.continue_(mark, None, caller(), default_timeout=LONG)
        )
        await pass_time(1)
        waiting.cancel()
        await pass_time(1)
        go.set()
        last = await it.tasks.continue_(mark, None, caller(), default_timeout=LONG)

    assert (last.task.state, last.mark) == (State.COMPLETED, "")


async def test_a_task_has_no_more_time_than_it_was_given() -> None:
    async with bench((asyncio.Event(),)) as it:
        began = it.now()
        task = await invoked(it, duration_ms=5000)
        took = it.now() - began

    assert task.failure is not None
    assert task.failure.reason == "TASK_TIMEOUT"
    assert took == pytest.approx(5)


@pytest.mark.parametrize("refusal", [GONE, OSError("disk full")], ids=["refused", "broken"])
async def test_invoke_waits_for_another_worker_where_the_end_is_not_written(
    refusal: Exception,
) -> None:
    async with bench() as it:
        it.log.refuses, it.log.refusal = ev.Completed, refusal

        answer = await answered(it, timedelta(seconds=5))

    assert (answer.task.state, bool(answer.mark)) == (State.RUNNING, True)


async def test_cancel_answers_the_task_once_it_has_ended() -> None:
    async with bench(("One, ", "two", asyncio.Event())) as it:
        run = await it.submit()
        await it.models.said.wait()

        task = await it.tasks.cancel(caller(), run.spec.task_id, reason="enough")

    assert (task.state, task.text) == (State.CANCELED, "One, two")


async def test_cancel_of_a_task_that_ends_meanwhile_is_refused() -> None:
    async with bench() as it:
        it.log.holds = ev.Completed
        run = await it.submit()
        await it.log.holding.wait()
        canceling = asyncio.create_task(
            it.tasks.cancel(caller(), run.spec.task_id, reason="enough")
        )
        await pass_time(1)
        it.log.let_go.set()

        with pytest.raises(FailedPrecondition) as caught:
            await canceling

    assert caught.value.reason == "TASK_ALREADY_ENDED"
    assert caught.value.metadata["suggested_fix"]


@pytest.mark.parametrize(
    ("on_disconnect", "state"), [("cancel", State.CANCELED), ("continue", State.COMPLETED)]
)
async def test_a_caller_that_goes_away_ends_what_is_not_to_go_on(
    on_disconnect: str, state: State
) -> None:
    go = asyncio.Event()
    async with bench((go, "Hello")) as it:
        calling = asyncio.create_task(invoked(it, on_disconnect=on_disconnect))
        await it.models.said.wait()
        await pass_time(1)  # The model may have been asked before the task is in its log.
        run = only(it)
        calling.cancel()
        await pass_time(1)
        go.set()
        task = await end_of(run)

    assert task.state is state


REFUSED: list[tuple[dict[str, Any], type[ServiceError], str]] = [
    ({"query": ""}, InvalidArgument, "INVALID_REQUEST"),
    ({"model": "gpt-9"}, NotFound, "MODEL_NOT_FOUND"),
    ({"tools": ("teleport",)}, NotFound, "TOOL_NOT_FOUND"),
    ({"response_schema": {"type": "nonsense"}}, InvalidArgument, "SCHEMA_INVALID"),
    ({"query": "x" * 999, "tools": ("look",)}, InvalidArgument, "CONTEXT_WINDOW_EXCEEDED"),
]


@pytest.mark.parametrize(("changes", "kind", "reason"), REFUSED, ids=lambda each: str(each)[:24])
async def test_what_is_refused_leaves_no_task(
    changes: dict[str, Any], kind: type[ServiceError], reason: str
) -> None:
    async with bench(tools=FakeTools([tool()])) as it:
        it.models.prompt_tokens = MODEL.context_tokens

        with pytest.raises(kind) as caught:
            await invoked(it, **changes)

    assert caught.value.reason == reason
    assert it.log.events == []


async def test_a_stream_that_is_closed_cancels_its_task() -> None:
    async with bench(("One", asyncio.Event())) as it:
        stream = it.tasks.stream(REQUEST, caller())
        await anext(stream)
        run = only(it)

        await stream.aclose()
        task = await end_of(run)

    assert task.state is State.CANCELED


async def test_keys_of_owners_with_odd_names_are_their_own() -> None:
    async with bench() as it:
        keyed = replace(REQUEST, fingerprint="same")
        first = await it.tasks.create(
            replace(keyed, idempotency_key="b/c"), replace(caller(), subject="a")
        )
        second = await it.tasks.create(
            replace(keyed, idempotency_key="c"), replace(caller(), subject="a/b")
        )

    assert first.spec.task_id != second.spec.task_id


@pytest.mark.parametrize("number", [1e308, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["timeout_ms", "duration_ms"])
async def test_times_that_are_none_are_refused_and_not_reckoned_with(
    field: str, number: float
) -> None:
    async with bench() as it:
        asked = replace(REQUEST, **{field: number})
        ways = [
            it.tasks.invoke(asked, caller(), default_timeout=timedelta(seconds=1)),
            it.tasks.create(asked, caller()),
            it.tasks.start(asked, caller()),
        ]

        for way in ways:
            with pytest.raises(InvalidArgument):
                await way
