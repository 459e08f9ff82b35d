"""Whether states make sense together."""

from time import process_time

import pytest

from services.workflow.domain.language import outcome


def found(states: str, *, warnings: bool = False, name: str = "x") -> list[str]:
    """The fields of what is wrong, the first state being the initial one."""
    lines = "".join(f"  {line.strip()}\n" for line in states.strip().splitlines())
    first = lines.strip().partition(":")[0]
    each = outcome(f"name: {name}\ninitial: {first}\nstate_machine:\n{lines}").problems
    fields = [
        one.field.removeprefix("state_machine.") for one in each if one.is_warning == warnings
    ]
    assert all(one.suggested_fix and one.line for one in each)
    return fields


def test_no_single_start_is_an_error() -> None:
    both = outcome("name: x\nstate_machine:\n  a: {transitions: [c]}\n  b: {transitions: [c]}\n")
    none = outcome("name: x\nstate_machine:\n  a: {transitions: [b, c]}\n  b: {transitions: [a]}\n")

    assert [each.field for each in both.problems] == [""]
    assert [each.field for each in none.problems] == [""]


def test_a_state_that_leads_to_itself_may_be_the_start() -> None:
    text = "name: x\nstate_machine:\n  a: {transitions: [a, b]}\n"

    assert outcome(text).problems == ()


def test_what_is_not_reached_is_an_error() -> None:
    assert found("a: {transitions: [b]}\nc: {transitions: [d]}") == ["c"]


def test_circles_that_nothing_leaves_are_errors() -> None:
    assert found("a: {transitions: [b, end]}\nb: {transitions: [c]}\nc: {transitions: [b]}") == [
        "b"
    ]
    assert found("a: {transitions: [a]}") == ["a"]


def test_circles_with_a_way_out_are_fine() -> None:
    assert (
        found("a: {transitions: [b]}\nb: {transitions: [a, c]}\nc: {transitions: [b, end]}") == []
    )


def test_circles_that_never_wait_are_errors() -> None:
    assert found(
        """a: {on_success: b, on_enter: [{tool: t}]}
        b: {on_success: a, on_failure: c, on_enter: [{tool: t}]}
        c: {terminal: failure}"""
    ) == ["a"]
    assert found("a: {on_enter: [{tool: t}], on_success: end, on_failure: a}") == ["a"]


def test_a_circle_that_waits_once_is_fine() -> None:
    assert found("a: {on_success: b, on_enter: [{tool: t}]}\nb: {transitions: [a, end]}") == []


def test_a_terminal_state_leads_nowhere_and_is_not_guarded() -> None:
    assert found("a: {transitions: [b], terminal: success}") == ["a.terminal"]
    assert found("a: {terminal: success, validator: approver}") == ["a.validator"]
    assert found("a: {validator: approver}") == ["a.validator"]


def test_actions_of_a_failure_are_a_warning() -> None:
    states = "a: {terminal: failure, on_enter: [{tool: t}]}"

    assert found(states) == []
    assert found(states, warnings=True) == ["a.on_enter"]


def test_only_a_person_leaves_an_approval() -> None:
    assert found("a: {validator: approver, transitions: [c], on_success: b}") == ["a.on_success"]


def test_a_way_for_failed_actions_needs_actions() -> None:
    assert found("a: {transitions: [c], on_failure: b}\nb: {terminal: failure}") == ["a.on_failure"]


def test_compensable_states_have_compensations() -> None:
    tools = "{tool: t, compensation: {tool: u}}, {tool: v}, {event: e}"

    assert found(f"a: {{compensable: true, on_enter: [{tools}]}}") == ["a.on_enter[1]"]


def test_undoing_an_event_is_a_warning() -> None:
    states = "a: {on_enter: [{event: e, compensation: {event: f}}]}"

    assert found(states) == []
    assert found(states, warnings=True) == ["a.on_enter[0].compensation"]


def test_saving_over_what_was_saved_is_a_warning() -> None:
    states = "a: {on_enter: [{tool: t, save_as: r}, {tool: u, save_as: r}]}"

    assert found(states, warnings=True) == ["a.on_enter[1].save_as"]


def test_failures_and_timeouts_lead_to_declared_states() -> None:
    assert found("a: {transitions: [c], on_enter: [{tool: t}], on_failure: b}") == ["a.on_failure"]
    late = "a: {transitions: [c], timeout: {after: 1h, target: b}}"
    assert found(late) == ["a.timeout.target"]


def test_a_target_that_is_almost_a_state_is_a_warning() -> None:
    states = "a: {transitions: [reveiw, review]}\nreview: {transitions: [b]}"

    assert found(states) == []
    assert found(states, warnings=True) == ["a"]


@pytest.mark.parametrize("leaf", ["state_2", "approved", "publish"])
def test_a_target_that_is_counted_or_another_form_is_no_slip(leaf: str) -> None:
    states = "state_1: {transitions: [approve]}\napprove: {transitions: [state_1, %s]}"

    assert found(states % leaf, warnings=True) == []


@pytest.mark.parametrize(
    "states",
    [
        "a: {on_enter: [{workflow: x}]}",
        "a: {on_success: b, on_enter: [{tool: t}]}\nb: {on_enter: [{tool: t}, {workflow: x}]}",
    ],
)
def test_a_workflow_that_starts_itself_at_once_is_an_error(states: str) -> None:
    assert [field[-8:] for field in found(states)] == ["workflow"]


def test_a_workflow_that_waits_before_it_starts_itself_is_fine() -> None:
    assert found("a: {transitions: [b]}\nb: {on_enter: [{workflow: x}]}") == []


def test_events_name_states() -> None:
    text = "name: x\nstate_machine:\n  a: {transitions: [b]}\nevents: {c: left, b: arrived}\n"

    assert [each.field for each in outcome(text).problems] == ["events.c"]


def test_a_hundred_long_names_that_are_much_alike_are_compared_in_time() -> None:
    known = [f"{'a' * 58}d{number:02}" for number in range(50)]
    ways = [f"{'a' * 58}e{number:02}x" for number in range(50)]
    machine = {name: {"transitions": ways} for name in known}
    began = process_time()

    found = outcome({"name": "x", "initial": known[0], "state_machine": machine})

    assert found.problems
    assert process_time() - began < 3  # Each with each in each state took 30 s.


def test_errors_are_told_however_many_warnings_there_are() -> None:
    ways = [f"state_{letter}_up" for letter in "abcdefgh"]
    machine = {f"s{n}": {"transitions": ways} for n in range(40)}
    machine |= {way.replace("up", "pu"): {"transitions": ["s1"]} for way in ways}

    told = outcome({"name": "x", "initial": "s0", "state_machine": machine})

    assert len(told.problems) == 100
    assert told.definition is None
    assert told.errors
