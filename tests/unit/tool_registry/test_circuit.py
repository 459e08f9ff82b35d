"""The circuit breaker: when it opens, for how long, and what closes it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tool_registry.domain import circuit as ci
from services.tool_registry.domain.circuit import CLOSED, Circuit, Event, Moment, Policy, State

POLICY = Policy(failures=3, pause=timedelta(seconds=10), longest_pause=timedelta(seconds=60))
TRIAL_FAILS = (Event.ASKED, Event.TRIAL_FAILED)


def at(now: float = 0.0, chance: float = 0.0) -> Moment:
    return Moment(POLICY, now, chance)


def after(circuit: Circuit, *events: Event, now: float = 0.0) -> Circuit:
    for event in events:
        circuit = ci.step(circuit, event, at(now))
    return circuit


def opened() -> Circuit:
    """A circuit that opened at 0."""
    return after(CLOSED, *[Event.FAILED] * 3)


def tried() -> Circuit:
    """One whose trial is under way."""
    return after(opened(), Event.ASKED, now=10.0)


def pauses(trials: int) -> Sequence[float]:
    """How long the circuit is open, at first and after each of so many trials that failed."""
    circuit, found = opened(), [10.0]
    for _ in range(trials):
        began = circuit.until
        circuit = after(circuit, *TRIAL_FAILS, now=began)
        found.append(circuit.until - began)
    return found


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    assert after(CLOSED, *[Event.FAILED] * 2).state is State.CLOSED
    assert opened().state is State.OPEN


def test_an_answer_between_failures_starts_the_count_again() -> None:
    events = [Event.FAILED, Event.FAILED, Event.ANSWERED, Event.FAILED, Event.FAILED]

    assert after(CLOSED, *events).state is State.CLOSED


@pytest.mark.parametrize(("now", "state"), [(9.9, State.OPEN), (10.0, State.HALF_OPEN)])
def test_the_first_call_after_the_pause_is_a_trial(now: float, state: State) -> None:
    assert after(opened(), Event.ASKED, now=now).state is state
    assert ci.seen(opened(), now) is state


@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_calls_from_before_it_opened_change_nothing(state: State) -> None:
    circuit = {State.OPEN: opened, State.HALF_OPEN: tried}[state]()

    assert after(circuit, Event.FAILED, Event.ANSWERED, now=10.0) == circuit


def test_one_success_closes_it_and_forgets_everything() -> None:
    assert after(tried(), Event.TRIAL_ANSWERED) is CLOSED


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    assert pauses(4) == [10, 20, 40, 60, 60]


def test_a_trial_that_showed_nothing_is_made_again_at_once() -> None:
    lost = after(tried(), Event.TRIAL_LOST, now=11.0)

    assert lost.state is State.OPEN
    assert after(lost, Event.ASKED, now=11.0).state is State.HALF_OPEN
    assert lost.pause == timedelta(seconds=10)


def test_pauses_are_spread_so_that_replicas_do_not_try_together() -> None:
    failed = after(CLOSED, *[Event.FAILED] * 2)

    latest = ci.step(failed, Event.FAILED, at(chance=1.0))

    assert latest.until == 12.0
    assert latest.pause == timedelta(seconds=10)


def test_only_one_call_is_the_trial() -> None:
    assert after(tried(), Event.ASKED, now=99.0) == tried()


@given(st.lists(st.tuples(st.sampled_from(Event), st.floats(0, 400)), max_size=60))
def test_whatever_happens_it_can_always_close_again(story: list[tuple[Event, float]]) -> None:
    circuit, now = CLOSED, 0.0
    for event, passed in story:
        now += passed
        circuit = ci.step(circuit, event, at(now))

    assert circuit.pause <= POLICY.longest_pause
    ends = (Event.TRIAL_LOST, Event.ASKED, Event.TRIAL_ANSWERED, Event.ANSWERED)
    assert after(circuit, *ends, now=now + 400) is CLOSED
