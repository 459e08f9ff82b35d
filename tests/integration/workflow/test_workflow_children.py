"""Actions that are workflows."""

import pytest

from tests.integration.workflow.world import World, plain

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_workflow_starts_another_and_waits_for_its_end(world: World) -> None:
    await world.define(
        "name: inner\nstate_machine: {ask: {transitions: [answered], validator: approver}}"
    )
    started = await world.run(
        "name: outer\nstate_machine:\n"
        '  a: {on_enter: [{workflow: inner, input: {n: "${data.n}"}, save_as: inner}],'
        " on_success: b}",
        {"n": 3},
        labels={"team": "x"},
    )
    child = (await world.met(started, "child_started")).child_workflow_id
    waiting = await world.get(started)
    below = await world.get(child)
    await world.approve(child, payload={"said": "yes"})

    done = await world.ended(started)

    assert (waiting.status, waiting.waits_for) == ("waiting", "workflow")
    assert below.parent_workflow_id == started.workflow_id
    assert (below.correlation_id, dict(below.labels)) == (started.workflow_id, {"team": "x"})
    assert plain(done.data)["inner"] == {
        "workflow_id": child,
        "status": "completed",
        "data": {"n": 3, "said": "yes"},
    }


async def test_a_workflow_below_that_fails_is_a_failure_above(world: World) -> None:
    await world.define("name: sad\nstate_machine: {a: {on_success: b}, b: {terminal: failure}}")
    started = await world.run(
        "name: above\nstate_machine: {a: {on_enter: [{workflow: sad}], on_success: b}}"
    )

    done = await world.ended(started)

    assert (done.status, done.error.reason) == ("failed", "WORKFLOW_NOT_COMPLETED")


async def test_a_cancel_reaches_the_workflow_below(world: World) -> None:
    await world.define("name: below\nstate_machine: {ask: {transitions: [answered]}}")
    started = await world.run(
        "name: over\nstate_machine: {a: {on_enter: [{workflow: below}], on_success: b}}"
    )
    child = (await world.met(started, "child_started")).child_workflow_id

    await world.cancel(started)

    assert (await world.ended(started)).status == "canceled"
    assert (await world.ended(child)).status == "canceled"
