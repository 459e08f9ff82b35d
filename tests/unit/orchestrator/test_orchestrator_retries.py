from datetime import timedelta

import pytest

from services.chassis.errors import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.failures import failure
from services.orchestrator.domain.task import State
from services.orchestrator.retries import ATTEMPTS, is_passing
from tests.unit.orchestrator.fakes import bench

SOON = timedelta(seconds=1)
PASSING = [
    Unavailable("ENGINE_FAILED", "gone"),
    ResourceExhausted("ENGINE_OVERLOADED", "full").after(SOON),
]
LASTING = [
    ResourceExhausted("EVENT_STORE_FULL", "full"),
    *(
        kind("X", "no").after(SOON)
        for kind in (
            Aborted,
            DeadlineExceeded,
            FailedPrecondition,
            Internal,
            InvalidArgument,
            NotFound,
        )
    ),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda each: each.code)
def test_what_may_pass_is_tried_again(error: ServiceError) -> None:
    assert is_passing(error)


@pytest.mark.parametrize("error", LASTING, ids=lambda each: each.code)
def test_what_lasts_is_not_tried_again(error: ServiceError) -> None:
    assert not is_passing(error)


@pytest.mark.parametrize("error", PASSING, ids=lambda each: each.code)
async def test_a_turn_that_failed_in_passing_is_asked_for_again(error: ServiceError) -> None:
    async with bench(("Half", error), ("Hello",)) as it:
        task = await it.ended()

    assert (task.state, task.text) == (State.COMPLETED, "Hello")
    assert [each.attempt for each in it.log.events if isinstance(each, ev.Answered)] == [2]


async def test_a_turn_is_asked_for_so_often_and_no_more() -> None:
    async with bench((PASSING[0],)) as it:
        task = await it.ended()

    assert task.failure == failure(PASSING[0])
    assert len(it.models.asked) == ATTEMPTS


@pytest.mark.parametrize("error", LASTING, ids=lambda each: each.code)
async def test_a_turn_that_failed_for_good_is_not_asked_for_again(error: ServiceError) -> None:
    async with bench((error,), ("Hello",)) as it:
        task = await it.ended()

    assert task.failure == failure(error)
    assert len(it.models.asked) == 1


async def test_a_second_attempt_waits_as_long_as_it_was_asked_to() -> None:
    later = ResourceExhausted("ENGINE_OVERLOADED", "full").after(timedelta(seconds=4))
    async with bench((later,), ("Hello",)) as it:
        now = it.now()
        await it.ended()

        assert it.now() - now >= 4
