"""How an action, or a whole workflow, is stopped: by the time or by a cancel."""

from datetime import timedelta

import pytest

from services.workflow.domain import events as ev
from services.workflow.domain import outcomes
from services.workflow.domain.instance import Phase
from services.workflow.domain.outcomes import (
    STOPPED,
    Failed,
    Succeeded,
)
from services.workflow.domain.steps import Rest, Run, Stop, is_current
from tests.unit.workflow.flow import (
    LOST_RETRYABLE,
    NOW,
    ONE,
    RETRYABLE,
    Flow,
    undone,
)

WAITING = "a: {transitions: [b], timeout: {after: 1h, target: late}}\nlate: {transitions: [b]}"


def test_a_state_is_left_when_its_time_is_over() -> None:
    flow = Flow(WAITING)
    assert flow.step == Rest(NOW + timedelta(hours=1))
    assert (flow.status, flow.waits_for) == ("waiting", "signal")

    flow.pass_time(3599)
    assert flow.state == "a"
    flow.pass_time(1)

    assert flow.state == "late"
    assert flow.events[-1] == ev.Moved(flow.now, "a", "late", "timeout", "timer")


def test_a_signal_that_comes_when_the_time_is_over_comes_after_the_timeout() -> None:
    flow = Flow(WAITING)
    flow.now += timedelta(hours=2)
    flow.signal("b")

    assert flow.path() == ["a", "late", "b"]


def test_a_timeout_passes_the_guard_by() -> None:
    flow = Flow("""a: {transitions: [b], validator: approver, timeout: {after: 1s, target: c}}
        c: {terminal: success}""")
    flow.pass_time(1)

    assert flow.state == "c"


def test_a_timeout_while_an_action_runs_stops_it_first() -> None:
    flow = Flow(
        """a: {on_enter: [{tool: t, compensation: {tool: u}}], on_success: b,
        timeout: {after: 1s, target: bad}}
        bad: {terminal: failure}"""
    )
    flow.pass_time(2)
    assert isinstance(flow.step, Stop)
    assert flow.kinds() == ["Started"]

    flow.do()

    assert flow.kinds()[1:] == ["ActionFailed", "Moved", "CompensationStarted"]
    assert undone(flow) == ["u"]


def test_a_timeout_cuts_the_pause_between_two_attempts_short() -> None:
    flow = Flow(
        """a: {on_enter: [{tool: t, compensation: {tool: u}, retry: {initial: 1m, max: 1m}}],
        transitions: [b], timeout: {after: 1s, target: bad}}
        bad: {terminal: failure}"""
    )
    flow.do(RETRYABLE)
    assert flow.step == Rest(NOW + timedelta(seconds=1))

    flow.do()
    flow.do()

    assert flow.kinds()[-3:] == ["ActionFailed", "Moved", "Ended"]
    assert flow.status == "failed"


@pytest.mark.parametrize("stop", ["cancel", "timeout"])
def test_an_action_that_never_began_is_neither_stopped_nor_undone(stop: str) -> None:
    flow = Flow(
        """a: {on_enter: [{tool: t, compensation: {tool: u}}, {tool: v, compensation: {tool: w}}],
        transitions: [b], timeout: {after: 1h, target: bad}}
        bad: {terminal: failure}"""
    )
    first = flow.step
    assert isinstance(first, Run)
    if stop == "cancel":
        flow.cancel()
    else:
        flow.pass_time(3600)
    flow.change(lambda at: outcomes.acted(at, first, Succeeded({}), chance=0.0))

    assert "ActionFailed" not in flow.kinds()
    assert undone(flow) == ["u"]


@pytest.mark.parametrize("outcome", [RETRYABLE, LOST_RETRYABLE], ids=["not done", "unknown"])
def test_an_attempt_that_fails_when_it_is_not_wanted_any_more_is_the_last(outcome: Failed) -> None:
    flow = Flow(ONE)
    first = flow.step
    assert isinstance(first, Run)
    flow.cancel()
    flow.change(lambda at: outcomes.acted(at, first, outcome, chance=0.0))

    assert flow.kinds()[2] == "ActionFailed"
    assert undone(flow) == (["u"] if outcome.is_uncertain else [])


def test_a_cancel_while_an_action_runs_stops_it_and_undoes_it() -> None:
    flow = Flow(ONE)
    flow.cancel()
    assert flow.status == "running"
    assert isinstance(flow.step, Stop)
    flow.do()

    failed = flow.events[2]
    assert isinstance(failed, ev.ActionFailed)
    assert (failed.failure, failed.is_uncertain) == (STOPPED, True)
    assert undone(flow) == ["u"]
    assert flow.status == "compensated"


def test_a_cancel_in_the_pause_between_two_attempts_undoes_nothing_that_was_not_done() -> None:
    flow = Flow(ONE)
    flow.do(RETRYABLE)
    flow.cancel()
    flow.do()

    assert flow.kinds()[-2:] == ["ActionFailed", "Ended"]
    assert flow.status == "canceled"


def test_a_cancel_in_the_pause_after_an_unknown_outcome_undoes_it() -> None:
    flow = Flow(ONE)
    flow.do(LOST_RETRYABLE)
    flow.cancel()
    flow.do()

    assert undone(flow) == ["u"]


def test_a_cancel_of_the_second_attempt_undoes_what_it_may_have_done() -> None:
    flow = Flow(ONE)
    flow.do(RETRYABLE)
    flow.do()
    assert isinstance(flow.step, Run)
    flow.cancel()
    flow.do()

    assert undone(flow) == ["u"]


def test_a_cancel_while_it_waits_undoes_what_was_done() -> None:
    flow = Flow(ONE)
    flow.do()
    assert flow.status == "waiting"
    flow.cancel()

    assert flow.kinds()[-2:] == ["CancelRequested", "CompensationStarted"]
    assert flow.status == "compensating"
    assert undone(flow) == ["u"]


def test_a_cancel_while_a_validator_is_asked_does_not_wait_for_it() -> None:
    flow = Flow("a: {transitions: [b], validator: {tool: v}}")
    flow.signal("b")
    asked = flow.step
    flow.cancel()

    assert flow.status == "canceled"
    assert not is_current(flow.at, asked)


def test_no_timeout_ends_a_compensation() -> None:
    flow = Flow(
        """a: {on_enter: [{tool: t, compensation: {tool: u}}], transitions: [b],
        timeout: {after: 1h, target: bad}}
        bad: {terminal: failure}"""
    )
    flow.do()
    flow.cancel()
    flow.pass_time(7200)
    flow.do(RETRYABLE)
    flow.pass_time(7200)

    assert flow.instance.phase is Phase.COMPENSATING
    assert undone(flow) == ["u"]
    assert flow.path() == ["a"]


def test_an_event_that_is_stopped_was_not_published() -> None:
    flow = Flow("a: {on_enter: [{event: e, compensation: {event: f}}], transitions: [b]}")
    flow.cancel()
    flow.do()

    assert flow.status == "canceled"
