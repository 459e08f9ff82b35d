"""The circuits of tools: who is refused, what of it is seen, and how many are kept."""

from datetime import timedelta

import pytest

from services.chassis.errors import Unavailable
from services.tool_registry.domain.circuit import Event, Policy, State
from services.tool_registry.usecases.circuits import MAX_KEPT, Circuits, Key
from tests.conftest import FakeClock

KEY: Key = ("default", "fake", "1.0.0")
PAUSE = timedelta(seconds=10)


@pytest.fixture
def circuits(clock: FakeClock) -> Circuits:
    """Circuits that open after two failures, by the fake clock."""
    return Circuits(Policy(failures=2, pause=PAUSE), now=clock.monotonic, chance=lambda: 0.5)


def fail(circuits: Circuits, key: Key = KEY, times: int = 2) -> None:
    for _ in range(times):
        is_trial = circuits.admit(key)
        circuits.settle(key, Event.FAILED, is_trial=is_trial)


def refusal(circuits: Circuits, key: Key = KEY) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        circuits.admit(key)
    return caught.value


def test_a_tool_that_failed_too_often_is_refused_with_when_to_come_back(circuits: Circuits) -> None:
    fail(circuits)

    error = refusal(circuits)

    assert (error.reason, error.retry_after) == ("TOOL_CIRCUIT_OPEN", timedelta(seconds=11))
    assert error.metadata["tool"] == "fake"
    assert error.metadata["suggested_fix"]


@pytest.mark.parametrize(
    "other",
    [("other", "fake", "1.0.0"), ("default", "fake2", "1.0.0"), ("default", "fake", "2.0.0")],
)
def test_another_tenant_tool_or_version_is_not_refused(circuits: Circuits, other: Key) -> None:
    fail(circuits)

    assert circuits.admit(other) is False


def test_its_state_is_seen(circuits: Circuits, clock: FakeClock) -> None:
    states = [circuits.state(*KEY)]
    fail(circuits)
    states.append(circuits.state(*KEY))
    told = circuits.trouble(*KEY)
    clock.advance(timedelta(seconds=11))
    states.append(circuits.state(*KEY))

    assert states == [State.CLOSED, State.OPEN, State.HALF_OPEN]
    assert "2 times in a row" in told
    assert circuits.trouble(*KEY) == ""


def test_while_a_trial_is_under_way_others_are_refused(
    circuits: Circuits, clock: FakeClock
) -> None:
    fail(circuits)
    clock.advance(timedelta(seconds=11))

    assert circuits.admit(KEY) is True
    assert refusal(circuits).retry_after == PAUSE


def test_a_trial_that_is_answered_opens_the_way_for_all(
    circuits: Circuits, clock: FakeClock
) -> None:
    fail(circuits)
    clock.advance(timedelta(seconds=11))
    circuits.settle(KEY, Event.ANSWERED, is_trial=circuits.admit(KEY))

    assert [circuits.admit(KEY) for _ in range(3)] == [False] * 3
    assert circuits.state(*KEY) is State.CLOSED


@pytest.mark.parametrize("event", [Event.ANSWERED, Event.FAILED, None])
def test_a_call_from_before_decides_nothing_while_a_trial_is_under_way(
    circuits: Circuits, clock: FakeClock, event: Event | None
) -> None:
    is_trial = circuits.admit(KEY)
    fail(circuits)
    clock.advance(timedelta(seconds=11))
    circuits.admit(KEY)
    circuits.settle(KEY, event, is_trial=is_trial)

    assert circuits.state(*KEY) is State.HALF_OPEN


def test_a_trial_whose_caller_left_is_made_by_the_next(
    circuits: Circuits, clock: FakeClock
) -> None:
    fail(circuits)
    clock.advance(timedelta(seconds=11))
    circuits.settle(KEY, None, is_trial=circuits.admit(KEY))

    assert circuits.admit(KEY) is True


def test_only_so_many_are_kept_and_the_oldest_goes_first(circuits: Circuits) -> None:
    fail(circuits)
    for number in range(MAX_KEPT):
        fail(circuits, (f"tenant_{number}", "tool", "1.0.0"), times=1)

    assert circuits.admit(KEY) is False
    assert circuits.state(*KEY) is State.CLOSED


def test_a_tenant_with_many_failing_tools_has_only_its_own_forgotten(circuits: Circuits) -> None:
    fail(circuits)
    for number in range(MAX_KEPT + 1):
        fail(circuits, ("other", f"tool_{number}", "1.0.0"))

    assert circuits.state(*KEY) is State.OPEN
    assert circuits.state("other", "tool_0", "1.0.0") is State.CLOSED
    assert circuits.state("other", f"tool_{MAX_KEPT}", "1.0.0") is State.OPEN


def test_circuits_are_counted_by_their_state(circuits: Circuits, clock: FakeClock) -> None:
    fail(circuits)
    while_open = circuits.counts()
    clock.advance(PAUSE * 2)

    assert while_open == {"open": 1, "half_open": 0}
    assert circuits.counts() == {"open": 0, "half_open": 1}
