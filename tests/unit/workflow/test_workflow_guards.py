"""What guards a state, and workflows that others start."""

from datetime import timedelta

import pytest

from services.chassis.errors import ServiceError
from services.workflow.domain import events as ev
from services.workflow.domain import outcomes
from services.workflow.domain.outcomes import (
    Failed,
    Outcome,
    Succeeded,
)
from services.workflow.domain.steps import Ask, Look, Rest, Run, Stop, is_current
from tests.unit.workflow.flow import (
    DEFINITE,
    LOST,
    NO,
    RETRYABLE,
    Flow,
    undone,
)

GUARDED = """a: {on_enter: [{tool: t, save_as: ok}], on_success: b, transitions: [c],
      validator: {cel: "data.ok == true || payload == {'force': true}"}}
    b: {terminal: success}"""


def test_an_expression_lets_pass() -> None:
    flow = Flow(GUARDED)
    flow.do(Succeeded(True))

    assert flow.status == "completed"


def test_an_expression_holds_back_and_a_signal_may_pass_it() -> None:
    flow = Flow(GUARDED)
    flow.do(Succeeded(False))
    assert flow.kinds()[-1] == "ValidationRejected"
    assert (flow.status, flow.waits_for, flow.step) == ("waiting", "signal", Rest())
    with pytest.raises(ServiceError) as caught:
        flow.signal("b")
    assert caught.value.reason == "TRANSITION_REJECTED"

    flow.signal("c", force=True)

    assert flow.state == "c"


def test_an_expression_that_has_no_value_holds_back() -> None:
    flow = Flow("""a: {on_success: b, transitions: [c], validator: {cel: "data.x"}}""")

    rejected = flow.events[-1]
    assert isinstance(rejected, ev.ValidationRejected)
    assert (rejected.cause, rejected.failure.reason) == ("success", "EXPRESSION_FAILED")
    assert flow.status == "waiting"


def test_a_kept_signal_that_an_expression_refuses_is_dropped() -> None:
    flow = Flow(
        """a: {on_enter: [{tool: t}], transitions: [b], validator: {cel: "payload.n > 1"}}"""
    )
    flow.signal("b", n=1)
    flow.signal("b", n=2)
    flow.do()

    assert flow.kinds()[-3:] == ["SignalDropped", "Moved", "Ended"]


ASKING = """a: {transitions: [b, c], validator: {tool: v}}
    b: {transitions: [d]}"""


def test_a_validator_is_asked_and_says_yes() -> None:
    flow = Flow(ASKING)
    flow.signal("b", n=1)
    assert (flow.state, flow.status) == ("a", "running")
    assert isinstance(flow.step, Ask)
    assert flow.instance.data == {}

    flow.do()

    moved = flow.events[-1]
    assert isinstance(moved, ev.Moved)
    assert (moved.cause, moved.by, moved.validation_ms) == ("validation", "v", 1.0)
    assert (flow.state, flow.instance.data) == ("b", {"n": 1})


def test_a_validator_that_says_no_keeps_it_where_it_is() -> None:
    flow = Flow(ASKING)
    flow.signal("b", n=1)
    flow.do(Failed(NO))

    assert (flow.state, flow.status, flow.instance.data) == ("a", "waiting", {})
    assert flow.kinds()[-1] == "ValidationRejected"
    flow.signal("c")
    flow.do()
    assert flow.state == "c"
    assert len(set(flow.keys)) == 2


def test_signals_that_come_while_a_validator_is_asked_are_kept_until_it_has_answered() -> None:
    flow = Flow(ASKING)
    flow.signal("b")
    flow.signal("c")
    flow.signal("d")
    flow.do(Failed(NO))
    assert flow.kinds()[-2:] == ["ValidationRejected", "ValidationRequested"]

    flow.do(Failed(NO))

    assert flow.kinds()[-2:] == ["ValidationRejected", "SignalDropped"]
    assert (flow.state, flow.instance.deferred) == ("a", ())


def test_a_kept_signal_is_asked_about_once() -> None:
    flow = Flow(ASKING)
    flow.signal("b")
    flow.signal("d")
    flow.do()

    assert flow.path() == ["a", "b", "d"]


def test_a_timeout_does_not_wait_for_the_validator() -> None:
    flow = Flow("""a: {transitions: [b], validator: {tool: v}, timeout: {after: 1s, target: c}}
        c: {transitions: [e]}""")
    flow.signal("b")
    asked = flow.step
    flow.now += timedelta(seconds=1)
    assert flow.step == Rest(flow.now)
    flow.do()

    assert flow.state == "c"
    assert flow.instance.asked is None
    assert not is_current(flow.at, asked)


def test_a_validator_that_holds_back_what_follows_is_not_asked_again_by_itself() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], on_success: b, validator: {agent: v}}")
    flow.do()
    flow.do(Failed(NO))
    assert (flow.status, flow.step) == ("waiting", Rest())

    flow.signal("b")
    flow.do()

    assert flow.state == "b"


CHILD = "a: {on_enter: [{workflow: w, save_as: w, compensation: {tool: u}}], on_success: b}"


def test_a_workflow_waits_for_the_one_that_it_started() -> None:
    flow = Flow(CHILD)
    run = flow.step
    assert isinstance(run, Run)
    flow.change(lambda at: outcomes.child_started(at, run, "wf_2"))
    assert (flow.status, flow.waits_for) == ("waiting", "workflow")
    assert isinstance(flow.step, Look)
    assert not is_current(flow.at, run)

    flow.do(Succeeded({"status": "completed"}))

    assert (flow.status, flow.instance.child) == ("completed", "")
    assert flow.instance.data == {"w": {"status": "completed"}}


@pytest.mark.parametrize("outcome", [DEFINITE, LOST])
def test_a_workflow_fails_with_the_one_that_it_started(outcome: Outcome) -> None:
    flow = Flow(CHILD)
    run = flow.step
    assert isinstance(run, Run)
    flow.change(lambda at: outcomes.child_started(at, run, "wf_2"))
    flow.do(outcome)

    assert undone(flow) == (["u"] if outcome is LOST else [])


def test_a_cancel_stops_the_workflow_that_was_started() -> None:
    flow = Flow(CHILD)
    run = flow.step
    assert isinstance(run, Run)
    flow.do(RETRYABLE)
    flow.do()
    again = flow.step
    assert isinstance(again, Run)
    flow.change(lambda at: outcomes.child_started(at, again, "wf_2"))
    flow.cancel()
    step = flow.step
    assert isinstance(step, Stop)
    assert step.child == "wf_2"

    flow.do()

    assert undone(flow) == ["u"]
