"""Actions of every kind, against the real registry and orchestrator."""

import asyncio

import pytest
from runplane.orchestrator.v1 import agents_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as opb

from tests.integration.workflow.world import World, kinds, plain, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def agent(world: World, name: str) -> None:
    made = agents_pb2.Agent(agent_id=name, instructions="Review.")
    request = agents_pb2.CreateAgentRequest(agent=made)
    await world.agents.CreateAgent(request, timeout=5)


async def test_a_tool_gets_the_data_and_its_result_is_kept(world: World) -> None:
    started = await world.run(
        "name: sums\nstate_machine:\n"
        '  a: {on_enter: [{tool: calculator, input: {expression: "${data.sum}"}, save_as: got}],'
        " on_success: b}",
        {"sum": "12*7"},
    )

    done = await world.ended(started)

    assert (done.status, plain(done.data)["got"]) == ("completed", {"value": 84.0})
    (completed,) = (e for e in await world.log(started) if e.type == "action_completed")
    assert (completed.action.name, completed.action.kind) == ("calculator", "tool")
    assert completed.action.idempotency_key == f"{started.workflow_id}/1/0"
    assert plain(completed.payload) == {"output": {"value": 84.0}}
    assert completed.metrics.action_time_ms > 0


async def test_actions_run_one_after_another_with_keys_of_their_own(world: World) -> None:
    started = await world.run(
        "name: steps\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {n: 1, answer: 5}, save_as: x},"
        ' {tool: do, input: {n: "${data.x + 1}"}}], on_success: b}\n'
        '  b: {on_enter: [{tool: do, input: {at: "${workflow.state}"}}], on_success: c}'
    )

    assert (await world.ended(started)).status == "completed"
    assert world.office.of(started.workflow_id) == [
        ("1/0", {"n": 1, "answer": 5}),
        ("1/1", {"n": 6}),
        ("4/0", {"at": "b"}),
    ]


async def test_an_agent_is_a_task_whose_answer_is_kept(world: World) -> None:
    await agent(world, "reviewer")
    started = await world.run(
        "name: reviews\nstate_machine:\n  a: {on_enter: [{agent: reviewer,"
        ' query: "Look at ${data.doc}", save_as: said}], on_success: b}',
        {"doc": "doc_1"},
    )

    done = await world.ended(started)

    said = plain(done.data)["said"]
    assert (said["answer"], said["output"]) == ("Look at doc_1", None)
    task = await world.tasks.GetTask(opb.GetTaskRequest(task_id=said["task_id"]), timeout=5)
    assert (task.status, task.agent_id) == ("completed", "reviewer")


async def test_an_agents_answer_may_be_bound_by_a_schema(world: World) -> None:
    await agent(world, "judge")
    started = await world.run(
        "name: judges\nstate_machine:\n  a:\n    on_enter:\n"
        "      - agent: judge\n        query: Judge.\n        save_as: said\n"
        "        response_schema: {type: object, required: [good],"
        " properties: {good: {type: boolean}}}\n    on_success: b\n"
    )

    output = plain((await world.ended(started)).data)["said"]["output"]

    assert isinstance(output["good"], bool)


async def test_what_cannot_be_reached_is_tried_again_with_the_same_key(world: World) -> None:
    started = await world.run(
        "name: again\nstate_machine:\n  a: {on_enter: [{tool: do, input: {away: 2},"
        " retry: {attempts: 3, initial: 10ms, max: 20ms}}], on_success: b}"
    )

    assert (await world.ended(started)).status == "completed"
    log = await world.log(started)
    assert kinds(log) == [
        "workflow_started",
        "action_attempt_failed",
        "action_attempt_failed",
        "action_completed",
        "transition",
        "workflow_ended",
    ]
    assert [event.action.attempt for event in log if event.HasField("action")] == [1, 2, 3]
    assert log[1].HasField("due")
    assert [key for key, _ in world.office.of(started.workflow_id)] == ["1/0"] * 3


async def test_a_definite_failure_leads_to_on_failure_without_another_try(world: World) -> None:
    started = await world.run(
        "name: definite\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {fail: NO_STOCK}}], on_success: b, on_failure: c}\n"
        "  c: {terminal: success}"
    )

    done = await world.ended(started)

    assert (done.status, done.current_state) == ("completed", "c")
    (failed,) = (e for e in await world.log(started) if e.type == "action_failed")
    assert (failed.error.reason, failed.error.suggested_fix) == (
        "NO_STOCK",
        "ask for something else",
    )
    assert not failed.action.is_uncertain
    assert len(world.office.of(started.workflow_id)) == 1


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("{tool: nothing}", "TOOL_NOT_FOUND"),
        ("{agent: nobody, query: hi}", "AGENT_NOT_FOUND"),
        ("{workflow: nowhere}", "DEFINITION_NOT_FOUND"),
        ('{tool: do, input: {n: "${data.missing}"}}', "EXPRESSION_FAILED"),
        ("{tool: calculator, input: {expression: 1}}", "TOOL_INPUT_INVALID"),
    ],
)
async def test_an_action_that_cannot_be_done_fails_the_workflow_and_says_why(
    world: World, action: str, reason: str
) -> None:
    started = await world.run(
        f"name: cannot\nstate_machine: {{a: {{on_enter: [{action}], on_success: b}}}}"
    )

    done = await world.ended(started)

    assert (done.status, done.error.reason) == ("failed", reason)


async def test_an_action_that_takes_too_long_fails_and_stops(world: World) -> None:
    started = await world.run(
        "name: slow\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: slow}, timeout: 200ms}], on_success: b}"
    )

    done = await world.ended(started)

    assert (done.status, done.error.code) == ("failed", "DEADLINE_EXCEEDED")
    (failed,) = (e for e in await world.log(started) if e.type == "action_failed")
    assert failed.metrics.action_time_ms > 0
    async with asyncio.timeout(5):
        await world.office.left["slow"].wait()


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        ("{valid: true}", "b", ""),
        ("{valid: false, reason: too short}", "a", "TRANSITION_REJECTED"),
        ("{}", "a", "VALIDATOR_ANSWER_INVALID"),
    ],
)
async def test_a_tool_validates(world: World, answer: str, state: str, reason: str) -> None:
    started = await world.run(
        "name: guarded\nstate_machine:\n"
        f"  a: {{transitions: [b], validator: {{tool: do, input: {{answer: {answer}}}}}}}\n"
        "  b: {transitions: [c]}"
    )

    await world.signal(started, target="b", payload={"n": 1})
    event = await world.met(started, "b" if state == "b" else "validation_rejected")

    assert (await world.get(started)).current_state == state
    assert (event.error.reason, event.orchestrator) == (reason, "do")
    assert event.metrics.validation_time_ms > 0
    if state == "b":
        assert event.cause == "validation"
        assert event.metrics.transition_time_ms >= event.metrics.validation_time_ms
        assert plain(event.payload) == {"n": 1}


async def test_an_agent_validates(world: World) -> None:
    await agent(world, "guard")
    started = await world.run(
        "name: asked\nstate_machine:\n  a:\n    transitions: [b]\n    validator:\n"
        "      agent: guard\n      query: Is it good?\n      response_schema:\n"
        "        {type: object, required: [valid], properties: {valid: {const: true}}}\n"
    )

    await world.signal(started, target="b")

    assert (await world.ended(started)).status == "completed"


async def test_signals_wait_until_the_actions_are_done(world: World) -> None:
    started = await world.run(
        "name: busy\ninitial: a\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: busy}}], transitions: [b]}\n"
        "  b: {transitions: [a, c, d]}"
    )
    await asyncio.wait_for(world.office.reached["busy"].wait(), 10)
    await world.signal(started, target="b")
    await world.signal(started, target="b")
    kept = await world.signal(started, event="d", payload={"n": 1})
    world.office.gates["busy"].set()

    done = await world.ended(started)

    assert (kept.status, kept.deferred_signals) == ("running", 3)
    assert (done.status, done.current_state, plain(done.data)) == ("completed", "d", {"n": 1})
    log = kinds(await world.log(started))
    assert log.count("signal_deferred") == 3
    assert log.count("signal_dropped") == 1


async def test_so_many_signals_are_kept_and_no_more(world: World) -> None:
    started = await world.run(
        "name: flooded\ninitial: a\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: flooded}}], transitions: [b]}\n"
        "  b: {transitions: [a, c]}"
    )
    await asyncio.wait_for(world.office.reached["flooded"].wait(), 10)
    for _ in range(100):
        await world.signal(started, target="b")

    refusal = await refused(world.signal(started, target="b"))
    nowhere = await refused(world.signal(started, target="x"))
    await world.cancel(started)

    assert refusal.what == ("RESOURCE_EXHAUSTED", "TOO_MANY_SIGNALS")
    assert nowhere.what == ("FAILED_PRECONDITION", "TRANSITION_NOT_ALLOWED")
    assert (await world.ended(started)).status == "canceled"


async def test_a_cancel_stops_what_is_under_way_and_undoes_it(world: World) -> None:
    started = await world.run(
        "name: cut\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: cut},"
        " compensation: {tool: do, input: {undo: 1}}}], on_success: b}"
    )
    await asyncio.wait_for(world.office.reached["cut"].wait(), 10)

    await world.cancel(started, "enough")

    assert (await world.ended(started)).status == "compensated"
    await asyncio.wait_for(world.office.left["cut"].wait(), 10)
    (undone,) = (e for e in await world.log(started) if e.type == "action_compensated")
    assert undone.action.is_uncertain
    assert undone.metrics.compensation_time_ms > 0
    assert world.office.of(started.workflow_id)[-1] == ("1/0/undo", {"undo": 1})
