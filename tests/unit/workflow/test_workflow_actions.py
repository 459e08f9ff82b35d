"""Actions: how often they are tried, what is kept of them, how they are undone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.workflow.domain import events as ev
from services.workflow.domain.definition import Retry
from services.workflow.domain.outcomes import (
    LONGEST_PAUSE,
    Succeeded,
    backoff,
)
from services.workflow.domain.steps import Rest, Run, Undo, is_current
from tests.unit.workflow.flow import (
    DEFINITE,
    LOST,
    LOST_RETRYABLE,
    NOW,
    ONE,
    RETRYABLE,
    SAGA,
    Flow,
    undone,
)


def test_actions_run_one_after_another_and_the_state_is_left_when_all_are_done() -> None:
    flow = Flow(SAGA)
    flow.finish()

    assert flow.path() == ["a", "b", "c", "end"]
    assert flow.status == "completed"
    assert flow.keys == ["wf_1/1/0", "wf_1/3/0", "wf_1/3/1", "wf_1/6/0"]


def test_an_output_is_saved_under_its_name() -> None:
    flow = Flow(SAGA, {"one": 0, "two": 2})
    flow.do(Succeeded({"id": 7}))

    assert flow.instance.data == {"one": {"id": 7}, "two": 2}


def test_an_output_that_is_null_is_saved_as_null() -> None:
    flow = Flow(SAGA)
    flow.do(Succeeded(None))

    assert flow.instance.data == {"one": None}


@pytest.mark.parametrize("states", [SAGA, ONE], ids=["saved", "not saved"])
def test_an_action_whose_output_cannot_be_kept_has_failed_and_is_undone(states: str) -> None:
    output: Any = 1
    for _ in range(30):
        output = {"a": output}
    flow = Flow(states)
    flow.do(Succeeded(output))

    failed = flow.events[1]
    assert isinstance(failed, ev.ActionFailed)
    assert (failed.failure.reason, failed.is_uncertain) == ("ACTION_OUTPUT_TOO_LARGE", True)
    assert len(undone(flow)) == 1
    assert flow.status == "compensated"


def test_an_event_that_cannot_be_kept_was_not_published() -> None:
    flow = Flow("a: {on_enter: [{event: e, compensation: {event: f}}], transitions: [b]}")
    flow.do(Succeeded({"n": 2**60}))

    assert flow.kinds()[1:] == ["ActionFailed", "Ended"]
    assert flow.status == "failed"


def test_what_was_done_is_undone_in_reverse_order_when_an_action_fails_for_good() -> None:
    flow = Flow(SAGA)
    for outcome in (None, None, DEFINITE):
        flow.do(outcome)
    started = flow.events[-1]
    assert isinstance(started, ev.CompensationStarted)
    assert (started.cause, started.failure) == ("failure", DEFINITE.failure)

    assert undone(flow) == ["u2", "u1"]
    assert (flow.state, flow.status) == ("b", "compensated")
    assert flow.instance.failure == DEFINITE.failure
    assert flow.keys[-2:] == ["wf_1/3/0/undo", "wf_1/1/0/undo"]


def test_on_failure_leads_on_and_a_terminal_failure_undoes() -> None:
    flow = Flow(SAGA)
    for outcome in (None, None, None, DEFINITE):
        flow.do(outcome)

    assert (flow.state, flow.instance.via) == ("bad", "failure")
    assert flow.kinds()[-3:] == ["ActionFailed", "Moved", "CompensationStarted"]
    assert undone(flow) == ["u2", "u1"]


def test_an_action_whose_outcome_is_not_known_is_undone_too_and_marked() -> None:
    flow = Flow(SAGA)
    for outcome in (None, None, None, LOST):
        flow.do(outcome)

    assert [done.is_uncertain for done in flow.instance.done] == [False, False, True]
    assert undone(flow) == ["u4", "u2", "u1"]


def test_an_attempt_whose_outcome_is_not_known_is_remembered_over_the_next_ones() -> None:
    flow = Flow(ONE)
    flow.do(LOST_RETRYABLE)
    flow.do()
    flow.do(DEFINITE)

    assert undone(flow) == ["u"]


def test_an_action_that_fails_and_then_succeeds_is_undone_once() -> None:
    flow = Flow(ONE)
    flow.do(LOST_RETRYABLE)
    flow.do()
    flow.do()
    flow.cancel()

    assert [done.is_uncertain for done in flow.instance.done] == [False]
    assert undone(flow) == ["u"]


def test_a_failed_attempt_is_made_again_after_a_pause_with_the_same_key() -> None:
    flow = Flow(ONE)
    flow.do(RETRYABLE)
    assert flow.step == Rest(NOW + timedelta(milliseconds=250))
    assert (flow.status, flow.instance.attempts) == ("running", 1)

    flow.do()
    flow.do(RETRYABLE)
    flow.do()
    flow.do(RETRYABLE)

    assert flow.kinds()[1:] == ["ActionAttemptFailed"] * 2 + ["ActionFailed", "Ended"]
    assert flow.keys == ["wf_1/1/0"] * 3
    assert flow.status == "failed"


def test_a_definite_failure_is_not_tried_again() -> None:
    flow = Flow(ONE)
    flow.do(DEFINITE)

    assert flow.kinds()[1:] == ["ActionFailed", "Ended"]


def test_a_pause_grows_and_is_bounded() -> None:
    retry = Retry(10, timedelta(seconds=1), 100.0, timedelta(hours=1))
    pauses = [backoff(retry, attempt, 0.999).total_seconds() for attempt in range(1, 10)]

    assert pauses[:2] == pytest.approx([0.9995, 99.95])
    assert pauses[2:] == pytest.approx([3598.2] * 7)
    assert backoff(retry, 1, 0.0) == timedelta(milliseconds=500)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (timedelta(0), timedelta(milliseconds=250)),
        (timedelta(seconds=5), timedelta(seconds=5)),
        (timedelta(days=999_999_999), LONGEST_PAUSE),
    ],
    ids=["nothing", "some", "for ever"],
)
def test_whoever_asks_to_be_left_alone_is_within_bounds(asked: timedelta, waits: timedelta) -> None:
    flow = Flow(ONE)
    flow.do(replace(RETRYABLE, retry_after=asked))

    assert flow.step == Rest(NOW + waits)


def test_a_compensation_is_tried_again_whatever_its_failure_and_then_a_person_is_asked() -> None:
    flow = Flow(ONE)
    flow.do()
    flow.cancel()
    pauses = []
    for outcome in (DEFINITE, RETRYABLE, LOST):
        flow.do(outcome)
        if isinstance(step := flow.step, Rest) and step.until:
            pauses.append(step.until - flow.now)
            flow.do()

    assert pauses == [timedelta(milliseconds=250), timedelta(milliseconds=500)]
    assert flow.kinds()[-3:] == ["CompensationAttemptFailed"] * 2 + ["CompensationFailed"]
    assert flow.instance.failure == LOST.failure
    assert [done.state for done in flow.instance.done] == ["a"]


def test_an_outcome_that_is_recorded_is_not_recorded_again() -> None:
    flow = Flow(ONE)
    for outcome in (RETRYABLE, None):
        while not isinstance(flow.step, Run):
            flow.do()
        step = flow.step
        flow.do(outcome)
        assert not is_current(flow.at, step)
    flow.cancel()
    for outcome in (RETRYABLE, None):
        while not isinstance(flow.step, Undo):
            flow.do()
        step = flow.step
        flow.do(outcome)
        assert not is_current(flow.at, step)


def test_a_state_that_is_entered_again_has_new_keys() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [a, b]}")
    flow.do()
    flow.signal("a")
    flow.do()

    assert flow.keys == ["wf_1/1/0", "wf_1/3/0"]


def test_actions_of_a_terminal_state_run_before_it_ends() -> None:
    flow = Flow("a: {transitions: [b]}\nb: {terminal: success, on_enter: [{tool: t}]}")
    flow.signal("b")
    assert flow.status == "running"
    flow.do()

    assert flow.kinds()[-2:] == ["ActionCompleted", "Ended"]


def test_actions_of_a_terminal_failure_are_undone_too() -> None:
    flow = Flow("""a: {transitions: [b]}
        b: {on_enter: [{tool: t, compensation: {tool: u}}], terminal: failure}""")
    flow.signal("b")
    flow.do()

    assert undone(flow) == ["u"]
    assert flow.status == "compensated"
