"""Workflows that start others."""

import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import ResourceExhausted
from services.workflow.domain import events as ev
from services.workflow.domain.steps import CHILD_LOOK
from tests.unit.workflow.flow import DEFINITE, NOW
from tests.unit.workflow.running.bench import bench
from tests.unit.workflow.running.fakes import now

ABOVE = """a: {on_enter: [{workflow: e, data: {n: "${data.n}"}, save_as: e}], on_success: b,
      on_failure: bad}
    bad: {terminal: failure}"""


@pytest.mark.parametrize(
    "below",
    ["a: {terminal: success}", "a: {on_enter: [{tool: t}], on_success: b}"],
    ids=["at once", "by a worker"],
)
async def test_a_workflow_goes_on_as_soon_as_the_one_that_it_started_has_ended(below: str) -> None:
    it = bench(ABOVE, below)
    async with it.process() as process:
        stream = await it.store.end(await process.start(n=7))

        assert now() - NOW < timedelta(seconds=1)
    said = {"workflow_id": "wf_2", "status": "completed", "data": {"n": 7}}
    assert stream.instance.data == {"n": 7, "e": said}
    assert it.store["wf_2"].instance.spec.parent_workflow_id == "wf_1"


async def test_what_has_ended_before_it_is_known_to_be_started_is_seen_at_once() -> None:
    it = bench(ABOVE, "a: {terminal: success}")
    it.store.slow = [0.5]
    async with it.process() as process:
        await it.store.end(await process.start(n=1))

        assert now() - NOW < timedelta(seconds=1)


async def test_a_timeout_ends_the_workflow_that_was_started_too() -> None:
    it = bench(
        """a: {on_enter: [{workflow: e}], transitions: [b], timeout: {after: 5s, target: b}}
        b: {terminal: success}""",
        "a: {transitions: [b]}",
    )
    async with it.process() as process:
        stream = await it.store.end(await process.start())

        assert timedelta(seconds=5) <= now() - NOW < timedelta(seconds=6)
    assert stream.kinds() == ["Started", "ChildStarted", "ActionFailed", "Moved", "Ended"]
    assert it.store["wf_2"].instance.phase.value == "canceled"


async def test_a_workflow_goes_on_when_a_signal_ends_the_one_that_it_started() -> None:
    it = bench(ABOVE, "a: {transitions: [b]}")
    async with it.process("w1") as one, it.process("w2") as two:
        workflow = await one.start(n=1)
        stream = await it.store.until(workflow, lambda each: each.instance.child == "wf_2")
        assert stream.claim is None
        await two.signal("wf_2", "b")
        await it.store.end(workflow)

        assert now() - NOW < timedelta(seconds=1)


async def test_a_workflow_looks_for_itself_if_nobody_says_that_the_other_has_ended() -> None:
    it = bench(ABOVE, "a: {transitions: [b]}")
    async with it.process() as process:
        workflow = await process.start(n=1)
        await it.store.until(workflow, lambda each: each.instance.child == "wf_2")

        async def deaf(*_: object) -> None:
            return None

        process.children.tell = deaf  # type: ignore[method-assign] - What is lost.
        await process.signal("wf_2", "b")
        await it.store.end(workflow)

        assert CHILD_LOOK <= now() - NOW < 2 * CHILD_LOOK


async def test_a_workflow_fails_with_the_one_that_it_started() -> None:
    it = bench(ABOVE, "a: {on_enter: [{tool: t}], on_success: b}", t=[DEFINITE])
    async with it.process() as process:
        stream = await it.store.end(await process.start(n=1))

    failed = next(each for each in stream.events if isinstance(each, ev.ActionFailed))
    assert (stream.instance.state, failed.failure.reason) == ("bad", "WORKFLOW_NOT_COMPLETED")
    assert not failed.is_uncertain


async def test_a_cancel_ends_the_workflow_that_was_started_too() -> None:
    it = bench(ABOVE, "a: {on_enter: [{tool: t}], on_success: b}", t=asyncio.Event())
    async with it.process() as process:
        workflow = await process.start(n=1)
        await it.peers.until(1)
        await process.cancel(workflow)
        stream, below = await it.store.end(workflow), await it.store.end("wf_2")

        assert now() - NOW < timedelta(seconds=1)
    assert [each.instance.phase.value for each in (stream, below)] == ["canceled"] * 2


async def test_a_cancel_ends_what_was_started_just_before_its_worker_was_lost() -> None:
    it = bench(ABOVE, "a: {transitions: [b]}")
    async with it.process("w1", max_running=0) as one:
        workflow = await one.start(n=1)
        await it.store.until(workflow, lambda each: True)
        instance = it.store[workflow].instance
        action = it.store[workflow].loaded.definition.states["a"].actions[0]
        await one.children.start(action, {"n": 1}, key="wf_1/1/0", parent=instance)
        await one.cancel(workflow)
        async with it.process("w2"):
            await it.store.end(workflow)

    assert it.store["wf_2"].instance.phase.value == "canceled"


async def test_a_workflow_whose_start_cannot_be_is_a_failure() -> None:
    it = bench("a: {on_enter: [{workflow: nothing}], transitions: [b]}")
    async with it.process() as process:
        stream = await it.store.end(await process.start())

    assert stream.instance.failure is not None
    assert stream.instance.failure.reason == "DEFINITION_NOT_FOUND"


async def test_a_workflow_that_cannot_be_started_while_the_outbox_is_full_is_started_later() -> (
    None
):
    it = bench(ABOVE, "a: {terminal: success}")
    it.store.refused = [ResourceExhausted("OUTBOX_FULL", "it is").after(timedelta(seconds=1))]
    async with it.process() as process:
        stream = await it.store.end(await process.start(n=1))

        assert timedelta(seconds=1) <= now() - NOW < timedelta(seconds=2)
    assert stream.kinds().count("ActionAttemptFailed") == 1
    assert stream.instance.phase.value == "completed"


async def test_workflows_do_not_start_workflows_without_end() -> None:
    it = bench(
        "a: {transitions: [b], on_enter: [{workflow: e}]}",
        "a: {transitions: [b], on_enter: [{workflow: d}], on_success: b}",
    )
    async with it.process() as process:
        workflow = await process.start()
        await it.store.end(workflow)

    assert len(it.store.streams) == 8
