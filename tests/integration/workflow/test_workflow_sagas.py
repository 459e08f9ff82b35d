"""Compensation, and time."""

from datetime import timedelta

import pytest

from tests.integration.workflow.world import World, kinds, plain, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


def saga(name: str, *, last: str = "{}", fail: str = "") -> str:
    """Three steps, of which the last may fail, and the undoing of the first, too."""
    refuses = f", fail: {fail}" if fail else ""
    first = f"compensation: {{tool: do, input: {{undo: '${{output}}'{refuses}}}, retry: " + (
        "{attempts: 2, initial: 10ms}}"
    )
    second = "compensation: {tool: do, input: {undo: '${output}'}}"
    return (
        f"name: {name}\nstate_machine:\n"
        f"  one: {{on_enter: [{{tool: do, input: {{answer: 1}}, {first}}}], on_success: two}}\n"
        f"  two: {{on_enter: [{{tool: do, input: {{answer: 2}}, {second}}}], on_success: three}}\n"
        f"  three: {{on_enter: [{{tool: do, input: {last}}}], on_success: done,"
        " on_failure: failed}\n  failed: {terminal: failure}\n"
    )


async def test_what_was_done_is_undone_backwards(world: World) -> None:
    started = await world.run(saga("backwards", last="{fail: NO_TRUCK}"))

    done = await world.ended(started)

    assert (done.status, done.current_state) == ("compensated", "failed")
    assert done.error.reason == "FAILURE_STATE_REACHED"
    calls = world.office.of(started.workflow_id)
    assert [(key.endswith("/undo"), given.get("undo")) for key, given in calls] == [
        (False, None),
        (False, None),
        (False, None),
        (True, 2),
        (True, 1),
    ]
    log = await world.log(started)
    assert kinds(log)[-4:] == [
        "compensation_started",
        "action_compensated",
        "action_compensated",
        "workflow_ended",
    ]
    assert [event.cause for event in log if event.type == "compensation_started"] == ["failure"]


async def test_a_compensation_that_fails_waits_for_a_person_and_goes_on(world: World) -> None:
    started = await world.run(saga("stuck", last="{fail: NO_TRUCK}", fail="NO_WAY"))
    failed = await world.met(started, "compensation_failed")

    stuck = await world.get(started)
    refusal = await refused(world.signal(started, target="two"))
    again = await world.compensate(started, "the depot is open again")
    await world.met(started, "compensation_resumed")

    assert (stuck.status, stuck.waits_for) == ("compensation_failed", "person")
    assert stuck.error.reason == failed.error.reason == "NO_WAY"
    assert [action.state for action in stuck.completed_actions] == ["one"]
    assert refusal.what == ("FAILED_PRECONDITION", "WORKFLOW_ALREADY_ENDED")
    assert again.status == "compensating"
    undone = [key for key, _ in world.office.of(started.workflow_id) if key.endswith("1/0/undo")]
    assert len(undone) >= 2


async def test_what_was_completed_can_be_undone_on_request(world: World) -> None:
    started = await world.run(saga("regret"))
    done = await world.ended(started)

    asked = await world.compensate(started, "changed my mind")
    rest = [event async for event in world.watch(started, after=done.last_sequence)]

    assert (done.status, asked.status) == ("completed", "compensating")
    assert (rest[0].cause, rest[0].comment) == ("request", "changed my mind")
    assert (await world.get(started)).status == "compensated"
    assert [action.name for action in done.completed_actions] == ["do", "do"]


async def test_a_state_is_left_when_its_time_is_over_within_a_second(world: World) -> None:
    started = await world.run(
        "name: timed\nstate_machine:\n"
        "  a: {transitions: [b], timeout: {after: 1500ms, target: late}}\n"
        "  late: {terminal: success}"
    )

    done = await world.ended(started)

    (moved,) = (e for e in await world.log(started) if e.cause == "timeout")
    took = moved.timestamp.ToDatetime() - started.create_time.ToDatetime()
    assert started.HasField("due")
    assert (done.status, done.current_state, moved.orchestrator) == ("completed", "late", "timer")
    assert timedelta(milliseconds=1500) <= took < timedelta(milliseconds=2500)
    assert moved.metrics.transition_time_ms < 1000


async def test_a_signal_ends_the_time(world: World) -> None:
    started = await world.run(
        "name: intime\nstate_machine:\n"
        "  a: {transitions: [b], timeout: {after: 300ms, target: late}}\n"
        "  b: {transitions: [c], timeout: {after: 600ms, target: late}}\n"
        "  late: {terminal: success}"
    )

    moved = await world.signal(started, target="b", payload={"n": 1})
    log = await world.log(started)

    assert moved.current_state == "b"
    assert [event.previous_state for event in log if event.type == "transition"] == ["a", "b"]
    assert plain((await world.get(started)).data) == {"n": 1}


async def test_an_action_that_runs_when_the_time_is_over_is_stopped_and_undone(
    world: World,
) -> None:
    started = await world.run(
        "name: overtime\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: never},"
        " compensation: {tool: do, input: {undo: 1}}}], on_success: b,"
        " timeout: {after: 300ms, target: late}}\n  late: {terminal: failure}"
    )

    done = await world.ended(started)

    assert (done.status, done.current_state) == ("compensated", "late")
    assert world.office.of(started.workflow_id)[-1][0] == "1/0/undo"
