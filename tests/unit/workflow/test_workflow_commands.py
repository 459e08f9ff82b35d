"""What callers can ask of a workflow, in each of its phases."""

from collections.abc import Callable

import pytest

from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
)
from services.workflow.domain import decide
from services.workflow.domain import events as ev
from services.workflow.domain.decide import MOST_DEFERRED, MOST_DEFERRED_BYTES
from services.workflow.domain.evolution import NEXT
from services.workflow.domain.instance import CLOSED, Phase
from services.workflow.domain.steps import Over, Rest, Run
from tests.unit.workflow.flow import DEFINITE, NOW, SPEC, Flow, defined

DOCUMENT = """draft: {transitions: [review, publish]}
    review: {transitions: [approved, rejected], validator: approver}
    publish: {transitions: [indexed]}"""
SAGA = """a: {on_enter: [{tool: t, compensation: {tool: u}}], transitions: [b, bad]}
    b: {transitions: [end]}
    bad: {terminal: failure}"""


def refusal(do: Callable[[], object]) -> ServiceError:
    """The error that something is refused with."""
    with pytest.raises(ServiceError) as caught:
        do()
    return caught.value


def test_a_workflow_starts_in_its_initial_state() -> None:
    flow = Flow(DOCUMENT, {"doc_id": "1"})

    assert flow.kinds() == ["Started"]
    assert (flow.state, flow.status, flow.waits_for) == ("draft", "waiting", "signal")
    assert flow.instance.data == {"doc_id": "1"}
    assert flow.step == Rest(None)


def test_data_that_the_schema_forbids_starts_nothing() -> None:
    definition = defined("a: {transitions: [b]}", rest="schema: {required: [x]}")

    error = refusal(lambda: decide.started(definition, SPEC, {}, NOW))

    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "WORKFLOW_DATA_INVALID")


def test_a_signal_moves_it_and_its_payload_is_merged_into_the_data() -> None:
    flow = Flow(DOCUMENT, {"a": 1, "b": {"c": 2}})
    flow.signal("publish", a=None, b={"d": 3})

    assert (flow.state, flow.instance.data) == ("publish", {"b": {"c": 2, "d": 3}})
    assert flow.events[-1] == ev.Moved(
        NOW, "draft", "publish", "signal", "ann", "publish", {"a": None, "b": {"d": 3}}
    )


@pytest.mark.parametrize("event", ["d_review", "review", "ready"])
def test_an_event_leads_by_on_or_as_the_type_or_the_name_of_a_transition(event: str) -> None:
    flow = Flow("a: {transitions: [review], on: {ready: review}}")
    flow.signal(event=event)

    assert flow.state == "review"


def test_a_terminal_state_completes_it() -> None:
    flow = Flow(DOCUMENT)
    flow.signal("publish")
    flow.signal("indexed")

    assert flow.kinds()[-2:] == ["Moved", "Ended"]
    assert (flow.status, flow.waits_for, flow.step) == ("completed", "", Over())


def test_a_signal_that_leads_nowhere_is_refused_with_the_ways_there_are() -> None:
    flow = Flow(DOCUMENT)

    error = refusal(lambda: flow.signal("indexed"))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "TRANSITION_NOT_ALLOWED")
    assert error.metadata["transitions"] == "review, publish"
    assert flow.kinds() == ["Started"]


def test_a_signal_for_another_state_is_refused() -> None:
    flow = Flow(DOCUMENT)
    signal = ev.Signal(target="review")

    error = refusal(
        lambda: flow.change(lambda at: decide.signalled(at, signal, expected_state="publish"))
    )

    assert error.reason == "WORKFLOW_STATE_CHANGED"


def test_a_signal_does_not_lead_out_of_a_state_that_a_person_guards() -> None:
    flow = Flow(DOCUMENT)
    flow.signal("review")

    error = refusal(lambda: flow.signal("approved"))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "APPROVAL_REQUIRED")
    assert (flow.status, flow.waits_for) == ("waiting", "approval")


@pytest.mark.parametrize("payload", [{"n": "no number"}, {"n": 2**60}, {"n": "x" * 300_000}])
def test_a_payload_that_cannot_be_kept_is_refused_and_changes_nothing(payload: ev.Object) -> None:
    schema = "schema: {properties: {n: {type: integer}}}"
    flow = Flow(defined("a: {transitions: [b]}\nb: {transitions: [c]}", rest=schema))

    error = refusal(lambda: flow.signal("b", **payload))

    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "WORKFLOW_DATA_INVALID")
    assert error.violations[0].field.startswith("payload") or "n" in error.violations[0].field
    assert flow.kinds() == ["Started"]


def test_approval_goes_the_way_of_that_name() -> None:
    flow = Flow(DOCUMENT)
    flow.signal("review")
    flow.approve(note="fine")

    assert (flow.state, flow.status) == ("approved", "completed")
    assert flow.instance.data == {"note": "fine"}


def test_rejection_goes_the_way_of_that_name() -> None:
    flow = Flow(DOCUMENT)
    flow.signal("review")
    flow.reject()

    assert (flow.state, flow.status) == ("rejected", "completed")


def test_approval_goes_the_only_way() -> None:
    flow = Flow("a: {transitions: [b], validator: approver}")
    flow.approve()

    assert flow.state == "b"


def test_rejection_goes_the_only_way_that_is_a_failure() -> None:
    flow = Flow("""a: {transitions: [b, bad], validator: approver}
        bad: {terminal: failure}""")
    flow.reject()

    assert (flow.state, flow.status) == ("bad", "failed")
    assert flow.instance.failure is not None
    assert flow.instance.failure.reason == "FAILURE_STATE_REACHED"


def test_where_it_goes_when_nobody_decides_is_no_default_of_an_approval() -> None:
    flow = Flow("""a: {transitions: [b], validator: approver, timeout: {after: 1h, target: late}}
        late: {terminal: failure}""")

    flow.approve()

    assert flow.state == "b"


@pytest.mark.parametrize("decide_it", [Flow.approve, Flow.reject])
def test_a_decision_that_could_go_more_than_one_way_lists_them(
    decide_it: Callable[[Flow], None],
) -> None:
    flow = Flow("a: {transitions: [b, c], validator: approver}")

    error = refusal(lambda: decide_it(flow))

    assert isinstance(error, InvalidArgument)
    assert error.violations[0].field == "target"
    assert "b, c" in error.violations[0].suggested_fix


def test_rejection_does_not_take_the_only_way_if_that_is_no_failure() -> None:
    flow = Flow("a: {transitions: [b], validator: approver}")

    assert refusal(flow.reject).reason == "INVALID_REQUEST"


def test_a_decision_names_its_way() -> None:
    flow = Flow("a: {transitions: [b, c], validator: approver}")
    flow.approve("c")

    assert flow.state == "c"
    assert flow.events[-2] == ev.Moved(NOW, "a", "c", "approval", "ann")


def test_a_decision_does_not_lead_where_no_transition_leads() -> None:
    flow = Flow("a: {transitions: [b], validator: approver}\nb: {transitions: [c]}")

    assert refusal(lambda: flow.approve("c")).reason == "TRANSITION_NOT_ALLOWED"


def test_no_decision_is_taken_where_none_is_waited_for() -> None:
    flow = Flow("""a: {transitions: [b]}
        b: {on_enter: [{tool: t}], transitions: [c], validator: approver}""")

    assert refusal(flow.approve).reason == "APPROVAL_NOT_PENDING"
    flow.signal("b")
    assert refusal(flow.reject).reason == "APPROVAL_NOT_PENDING"
    flow.do()
    flow.approve()
    assert flow.state == "c"


def test_rejection_into_a_failure_undoes_what_was_done() -> None:
    flow = Flow("""a: {on_enter: [{tool: t, compensation: {tool: u}}], transitions: [no],
          validator: approver}
        no: {terminal: failure}""")
    flow.do()
    flow.reject()

    started = flow.events[-1]
    assert isinstance(started, ev.CompensationStarted)
    assert started.cause == "rejection"
    flow.do()
    assert flow.status == "compensated"


def test_a_workflow_that_did_nothing_is_canceled_at_once() -> None:
    flow = Flow(DOCUMENT)
    flow.cancel()

    assert flow.kinds() == ["Started", "CancelRequested", "Ended"]
    assert flow.status == "canceled"


def test_a_second_cancel_changes_nothing() -> None:
    flow = Flow(SAGA)
    for _ in range(3):
        flow.cancel()
        before = flow.kinds()
        flow.cancel()
        assert flow.kinds() == before
        if not isinstance(flow.step, Over):
            flow.do()


def test_a_workflow_that_is_over_obeys_nothing() -> None:
    flow = Flow(DOCUMENT)
    flow.signal("publish")
    flow.signal("indexed")
    before = flow.kinds()

    for each in (flow.approve, flow.reject, flow.cancel, lambda: flow.signal("indexed")):
        error = refusal(each)
        assert isinstance(error, FailedPrecondition)
        assert error.reason == "WORKFLOW_ALREADY_ENDED"
    assert flow.kinds() == before


def test_what_was_completed_is_undone_on_request() -> None:
    flow = Flow(SAGA)
    flow.do()
    flow.signal("b")
    flow.signal("end")
    assert flow.status == "completed"

    flow.compensate()
    assert (flow.status, flow.kinds()[-1]) == ("compensating", "CompensationStarted")
    flow.compensate()
    assert flow.kinds()[-1] == "CompensationStarted"
    flow.do()
    assert flow.kinds()[-2:] == ["ActionCompensated", "Ended"]
    assert refusal(flow.compensate).reason == "WORKFLOW_NOT_COMPENSABLE"


def test_where_nothing_was_done_a_request_undoes_nothing() -> None:
    flow = Flow("a: {terminal: success}")
    flow.compensate()

    assert flow.kinds() == ["Started", "Ended", "CompensationStarted", "Ended"]
    assert flow.status == "compensated"


def test_a_workflow_at_work_is_canceled_and_not_compensated() -> None:
    error = refusal(Flow(SAGA).compensate)

    assert error.reason == "WORKFLOW_NOT_COMPENSABLE"
    assert error.metadata["suggested_fix"] == "cancel it"


def test_a_compensation_that_failed_is_resumed_by_a_person() -> None:
    flow = Flow(
        """a: {on_enter: [
        {tool: t, compensation: {tool: u, retry: {attempts: 2}}},
        {tool: w}], transitions: [b]}"""
    )
    flow.do()
    flow.do(DEFINITE)
    flow.do(DEFINITE)
    flow.do()
    flow.do(DEFINITE)
    assert (flow.status, flow.waits_for, flow.step) == ("compensation_failed", "person", Rest())
    assert refusal(flow.cancel).reason == "WORKFLOW_ALREADY_ENDED"

    flow.compensate()
    flow.do()

    assert flow.kinds()[-3:] == ["CompensationResumed", "ActionCompensated", "Ended"]
    assert flow.status == "compensated"
    assert flow.instance.failure == DEFINITE.failure
    assert len(set(flow.keys)) == 3


def test_signals_that_come_while_actions_run_are_kept_and_obeyed_in_their_order() -> None:
    flow = Flow("""a: {on_enter: [{tool: t}], transitions: [b]}
        b: {transitions: [c]}
        c: {transitions: [d]}""")
    flow.signal("b", n=1)
    flow.signal("c", n=2)
    assert (flow.state, flow.status) == ("a", "running")

    flow.do()

    assert flow.kinds()[-3:] == ["ActionCompleted", "Moved", "Moved"]
    assert (flow.state, flow.instance.deferred) == ("c", ())
    assert flow.instance.data == {"n": 2}


def test_a_kept_signal_that_leads_nowhere_is_dropped_with_an_event() -> None:
    flow = Flow("""a: {on_enter: [{tool: t}], transitions: [b]}
        b: {transitions: [c]}""")
    flow.signal("c")
    flow.signal("b")
    flow.do()

    assert flow.kinds()[-3:] == ["ActionCompleted", "SignalDropped", "Moved"]
    assert flow.state == "b"


def test_a_kept_signal_that_leads_on_only_from_the_next_state_is_kept_until_then() -> None:
    flow = Flow("""a: {on_enter: [{tool: t}], on_success: b}
        b: {on_enter: [{tool: t}], transitions: [c, d]}
        c: {transitions: [d]}""")
    flow.signal("c")
    flow.do()
    assert (flow.state, len(flow.instance.deferred)) == ("b", 1)

    flow.do()

    assert flow.path() == ["a", "b", "c"]


def test_a_kept_signal_goes_before_what_follows_by_itself() -> None:
    flow = Flow("""a: {on_enter: [{tool: t}], on_success: b, transitions: [c]}
        b: {transitions: [e]}""")
    flow.signal("c")
    flow.do()

    assert flow.state == "c"


def test_signals_that_are_kept_when_it_ends_are_dropped_with_an_event() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [b], on: {x: b}}\nb: {terminal: success}")
    flow.signal("b")
    flow.signal(event="x")
    flow.do()

    assert flow.kinds()[-3:] == ["Moved", "SignalDropped", "Ended"]


@pytest.mark.parametrize("ends", ["cancel", "failure"])
def test_signals_that_are_kept_when_it_is_undone_are_dropped_with_an_event(ends: str) -> None:
    flow = Flow("""a: {on_enter: [{tool: t, compensation: {tool: u}}, {tool: w}], transitions: [b]}
        b: {transitions: [c]}""")
    flow.do()
    flow.signal("b")
    if ends == "cancel":
        flow.cancel()
    flow.do(DEFINITE)

    assert flow.kinds()[-3:] == ["ActionFailed", "SignalDropped", "CompensationStarted"]


def test_a_signal_that_leads_nowhere_from_anywhere_is_not_kept() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [b]}")

    for signal in (lambda: flow.signal("x"), lambda: flow.signal(event="x")):
        assert refusal(signal).reason == "TRANSITION_NOT_ALLOWED"


def test_signals_are_kept_up_to_a_size_and_a_small_one_beside_large_ones() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [a, b]}")
    large = "x" * (MOST_DEFERRED_BYTES // 8)
    for _ in range(7):
        flow.signal("a", text=large)
    flow.signal("a", text="small")

    error = refusal(lambda: flow.signal("a", text=large))

    assert error.reason == "TOO_MANY_SIGNALS"
    assert len(flow.instance.deferred) == 8


def test_so_many_signals_are_kept_and_no_more() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [a, b]}")
    for _ in range(MOST_DEFERRED):
        flow.signal("a")

    error = refusal(lambda: flow.signal("a"))

    assert isinstance(error, ResourceExhausted)
    assert error.reason == "TOO_MANY_SIGNALS"


def test_a_payload_that_cannot_be_kept_is_not_kept_for_later_either() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [b]}")

    assert refusal(lambda: flow.signal("b", n=2**60)).reason == "WORKFLOW_DATA_INVALID"
    assert flow.kinds() == ["Started"]


def test_however_many_states_a_kept_signal_leads_through_it_arrives() -> None:
    chain = "".join(f"s{n}: {{on_success: s{n + 1}}}\n" for n in range(90))
    flow = Flow(
        "a: {on_enter: [{tool: t}], transitions: [s0, end]}\n"
        + chain
        + "s90: {transitions: [s0, end]}"
    )
    for _ in range(MOST_DEFERRED):
        flow.signal("s0")
    flow.do()
    flow.signal("s0")
    assert (flow.status, len(flow.instance.deferred) > 90) == ("running", True)

    flow.finish()

    assert (flow.state, flow.status, flow.step) == ("s90", "waiting", Rest())
    assert flow.path().count("s90") == MOST_DEFERRED + 1


def test_no_event_leads_out_of_a_closed_phase_but_an_asked_for_compensation() -> None:
    out = {kind for (phase, kind), to in NEXT.items() if phase in CLOSED and to is not phase}

    assert out == {ev.CompensationStarted}
    assert (Phase.COMPENSATED, ev.CompensationStarted) not in NEXT


@pytest.mark.parametrize("phase", Phase)
def test_the_verifier_may_repair_at_any_time(phase: Phase) -> None:
    assert NEXT[phase, ev.ProjectionRepaired] is phase


def test_a_repair_changes_nothing_but_the_sequence() -> None:
    flow = Flow(SAGA)
    step = flow.step
    flow.repair()

    assert isinstance(step, Run)
    assert flow.step == step
    flow.do()
    flow.repair()
    flow.cancel()
    flow.repair()
    flow.do()
    flow.repair()
    assert flow.status == "compensated"


def test_kept_signals_have_so_many_bytes_together_and_no_more() -> None:
    flow = Flow("a: {on_enter: [{tool: t}], transitions: [a, b]}")
    for _ in range(5):
        flow.signal("a", s="x" * 200_000)

    error = refusal(lambda: flow.signal("a", s="x" * 200_000))

    assert isinstance(error, ResourceExhausted)
    assert error.reason == "TOO_MANY_SIGNALS"
    flow.signal("a")
    assert len(flow.instance.deferred) == 6


def test_few_kept_signals_are_held_against_an_expression_at_once() -> None:
    flow = Flow(
        "a: {on_enter: [{tool: t}], transitions: [a, b], validator: {cel: 'payload.n > 99'}}"
    )
    for n in range(MOST_DEFERRED):
        flow.signal("b", n=n)
    flow.do()
    assert len(flow.instance.deferred) > 90

    flow.finish()

    assert (flow.state, flow.instance.deferred) == ("a", ())
    assert flow.kinds().count("SignalDropped") == MOST_DEFERRED
