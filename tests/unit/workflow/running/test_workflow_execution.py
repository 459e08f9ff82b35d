"""One workflow in a worker's hands."""

import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import InvalidArgument, Unavailable
from services.workflow.domain import events as ev
from services.workflow.domain.advance import Decided
from services.workflow.domain.evolution import after
from services.workflow.domain.instance import Standing
from services.workflow.domain.outcomes import Failed, Succeeded
from tests.unit.workflow.flow import DEFINITE, LOST, NOW, ONE, RETRYABLE, SAGA
from tests.unit.workflow.running.bench import ANN, HEARTBEAT, bench
from tests.unit.workflow.running.fakes import now

TIMED = """a: {on_enter: [{tool: t, compensation: {tool: u}}], transitions: [b],
      timeout: {after: 1m, target: late}}
    late: {transitions: [b]}"""
ASKING = "a: {transitions: [b], validator: {tool: v}}"
AWAY = Unavailable("EVENT_STORE_UNAVAILABLE", "it is away")


def repaired(at: Standing) -> Decided:
    """The verifier has found something."""
    event = ev.ProjectionRepaired(at.now, ("status differs",))
    return after(at, event).instance, [event]


async def test_a_workflow_is_run_to_its_end() -> None:
    it = bench(SAGA)
    async with it.process() as process:
        stream = await it.store.end(await process.start())

    assert stream.instance.phase.value == "completed"
    assert it.peers.names() == ["t1", "t2", "t3", "t4"]
    assert len({key for _, key in it.peers.calls}) == 4


async def test_what_was_done_is_undone() -> None:
    it = bench(SAGA, t4=[DEFINITE])
    async with it.process() as process:
        stream = await it.store.end(await process.start())

    assert stream.instance.phase.value == "compensated"
    assert it.peers.names()[-2:] == ["u2", "u1"]


async def test_a_cancel_stops_the_action_that_is_under_way_at_once() -> None:
    it = bench(ONE, t=asyncio.Event())
    async with it.process() as process:
        workflow = await process.start()
        await it.peers.until(1)
        await process.cancel(workflow)
        await it.store.end(workflow)

        assert now() < NOW + HEARTBEAT
    assert it.peers.stopped == ["t"]
    assert it.peers.ended == [("t", f"{workflow}/1/0")]
    assert it.peers.names() == ["t", "u"]


async def test_a_cancel_stops_the_validator_that_is_asked_at_once() -> None:
    it = bench(ASKING, v=asyncio.Event())
    async with it.process() as process:
        workflow = await process.start()
        await process.signal(workflow, "b")
        async with asyncio.timeout(1):
            await it.peers.until(1)
            await process.cancel(workflow)
            await it.peers.until(0)

        assert now() < NOW + HEARTBEAT
        await it.store.end(workflow)
    assert it.peers.ended == [("v", f"{workflow}/2/validation")]
    assert it.store[workflow].instance.phase.value == "canceled"


async def test_a_timeout_stops_the_action_that_is_under_way() -> None:
    it = bench(TIMED, t=asyncio.Event())
    async with it.process() as process:
        workflow = await process.start()
        stream = await it.store.until(workflow, lambda each: each.instance.state == "late")

        assert timedelta(seconds=60) <= now() - NOW < timedelta(seconds=61)
    assert it.peers.stopped == ["t"]
    assert it.peers.ended == [("t", f"{workflow}/1/0")]
    assert stream.kinds()[1:3] == ["ActionFailed", "Moved"]


async def test_a_timeout_leads_on_though_a_clock_says_that_it_is_not_quite_over() -> None:
    it = bench(TIMED, t=asyncio.Event())
    async with it.process(clock=lambda: NOW + (now() - NOW) * 0.9999) as process:
        workflow = await process.start()
        stream = await it.store.until(workflow, lambda each: each.instance.state != "a")

    assert stream.kinds()[1:3] == ["ActionFailed", "Moved"]
    assert stream.instance.state == "late"


async def test_a_second_cancel_while_an_action_stops_is_no_trouble() -> None:
    it = bench(TIMED, t=asyncio.Event())
    async with it.process() as process:
        workflow = await process.start()
        await it.peers.until(1)
        await asyncio.gather(*(process.cancel(workflow) for _ in range(5)))
        stream = await it.store.end(workflow)

    assert stream.kinds().count("CancelRequested") == 1
    assert it.peers.names() == ["t", "u"]


async def test_whatever_is_recorded_while_an_action_stops_is_no_trouble() -> None:
    it = bench(ONE, t=asyncio.Event())
    it.peers.lingers = 1.0
    async with it.process() as process:
        workflow = await process.start()
        await it.peers.until(1)
        await process.cancel(workflow)
        for _ in range(3):
            await process.workflows.change(ANN, workflow, repaired)
        stream = await it.store.end(workflow)

    assert stream.kinds().count("ProjectionRepaired") == 3
    assert it.peers.names() == ["t", "u"]


async def test_a_cancel_that_comes_while_an_outcome_is_recorded_begins_no_other_action() -> None:
    go = asyncio.Event()
    it = bench("a: {on_enter: [{tool: t}, {tool: v}], transitions: [b]}", t=go)
    async with it.process() as process:
        workflow = await process.start()
        await it.peers.until(1)
        it.store.late = [0.1]
        go.set()
        await it.store.until(workflow, lambda each: each.instance.next_action == 1)
        await process.cancel(workflow)
        await it.store.end(workflow)

    assert it.peers.names() == ["t"]


async def test_a_signal_that_comes_while_a_workflow_is_given_back_is_followed_at_once() -> None:
    go = asyncio.Event()
    it = bench("a: {on_enter: [{tool: t}], transitions: [a, b]}", t=go)
    async with it.process() as process:
        workflow = await process.start()
        await it.peers.until(1)
        it.store.late = [0.1]
        go.set()
        await it.store.until(workflow, lambda each: each.claim is None)
        await process.signal(workflow, "a")
        await it.store.until(workflow, lambda _: len(it.peers.calls) == 2)
        await it.store.until(workflow, lambda each: each.claim is None)

        assert now() - NOW < HEARTBEAT


async def test_a_signal_that_comes_while_an_action_runs_is_obeyed_after_it() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process() as process:
        workflow = await process.start()
        await process.signal(workflow, "b")
        go.set()
        stream = await it.store.end(workflow)

    assert stream.kinds() == ["Started", "SignalDeferred", "ActionCompleted", "Moved", "Ended"]
    assert it.peers.names() == ["t"]


async def test_a_conflict_does_not_run_an_action_again() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process("w1") as one, it.process("w2") as two:
        workflow = await one.start()
        await two.signal(workflow, "b")
        go.set()
        stream = await it.store.end(workflow)

    assert stream.kinds()[-3:] == ["ActionCompleted", "Moved", "Ended"]
    assert it.peers.names() == ["t"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_is_away_loses_no_outcome_and_records_none_twice(when: str) -> None:
    go = asyncio.Event()
    it = bench(ONE, t=[RETRYABLE, go])
    async with it.process() as process:
        workflow = await process.start()
        getattr(it.store, when).extend([AWAY] * 2)
        stream = await it.store.until(workflow, lambda each: each.instance.attempts > 0)
        await it.peers.until(1)
        getattr(it.store, when).extend([AWAY] * 2)
        go.set()
        await it.store.until(workflow, lambda each: each.instance.next_action == 1)

        assert now() - NOW < HEARTBEAT
    assert stream.kinds() == ["Started", "ActionAttemptFailed", "ActionCompleted"]
    assert it.peers.names() == ["t", "t"]


async def test_a_compensation_whose_outcome_may_be_recorded_is_not_run_again() -> None:
    it = bench(ONE)
    async with it.process() as process:
        workflow = await process.start()
        await it.store.until(workflow, lambda each: each.instance.next_action == 1)
        await it.store.until(workflow, lambda each: each.claim is None)
        await process.cancel(workflow)
        it.store.after += [AWAY] * 2
        stream = await it.store.end(workflow)

    assert it.peers.names() == ["t", "u"]
    assert stream.kinds().count("ActionCompensated") == 1


async def test_an_answer_that_cannot_be_read_is_a_failure_that_may_have_been_done() -> None:
    it = bench(ONE, t=[InvalidArgument("INVALID_REQUEST", "an integer beyond 2^53")])
    async with it.process() as process:
        stream = await it.store.end(await process.start())

    failed = stream.events[1]
    assert isinstance(failed, ev.ActionFailed)
    assert failed.is_uncertain
    assert it.peers.names() == ["t", "u"]


async def test_a_template_that_has_no_value_fails_the_action_before_it_runs() -> None:
    it = bench("""a: {on_enter: [{tool: t, input: {x: "${data.x}"}}], transitions: [b]}""")
    async with it.process() as process:
        stream = await it.store.end(await process.start())

    failed = stream.events[1]
    assert isinstance(failed, ev.ActionFailed)
    assert (failed.failure.reason, failed.is_uncertain) == ("EXPRESSION_FAILED", False)
    assert it.peers.calls == []


async def test_templates_see_data_and_compensations_the_output() -> None:
    it = bench(
        """a: {on_enter: [{tool: t, input: {x: "${data.n}", id: "${workflow.id}"},
              compensation: {tool: u, input: {y: "${output.id}"}}}, {tool: bad}],
              transitions: [b]}""",
        t=[Succeeded({"id": 7})],
        bad=[DEFINITE],
    )
    async with it.process() as process:
        await it.store.end(await process.start(n=3))

    assert it.peers.given == [{"x": 3, "id": "wf_1"}, {}, {"y": 7}]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"valid": True}, "b"),
        ({"valid": False, "reason": "too short"}, "a"),
        ({}, "a"),
        (None, "a"),
    ],
)
async def test_a_tool_says_whether_a_state_may_be_left(said: object, state: str) -> None:
    it = bench(ASKING, v=[RETRYABLE, Succeeded(said)])
    async with it.process() as process:
        workflow = await process.start()
        await process.signal(workflow, "b")
        stream = await it.store.until(workflow, lambda each: each.instance.asked is None)

        assert stream.instance.state == state
    assert len({key for _, key in it.peers.calls}) == 1


async def test_a_validator_that_cannot_be_asked_says_no() -> None:
    it = bench(ASKING, v=[LOST])
    async with it.process() as process:
        workflow = await process.start()
        await process.signal(workflow, "b")
        stream = await it.store.until(workflow, lambda each: each.instance.asked is None)

    rejected = stream.events[-1]
    assert isinstance(rejected, ev.ValidationRejected)
    assert rejected.failure == LOST.failure


async def test_an_agent_says_in_its_output_whether_a_state_may_be_left() -> None:
    said = {"answer": "fine", "output": {"valid": True}, "task_id": "task_1"}
    it = bench("a: {on_success: b, validator: {agent: v, query: ok}}", v=[Succeeded(said)])
    async with it.process() as process:
        stream = await it.store.end(await process.start())

    assert stream.instance.state == "b"


async def test_a_short_pause_is_waited_for_and_a_long_one_gives_the_workflow_back() -> None:
    long = Failed(RETRYABLE.failure, is_retryable=True, retry_after=timedelta(minutes=1))
    it = bench(ONE, t=[RETRYABLE, long, Succeeded({})])
    async with it.process() as process:
        workflow = await process.start()
        stream = await it.store.until(workflow, lambda each: each.instance.attempts == 2)

        assert stream.claim is None
        await it.store.until(workflow, lambda each: each.instance.next_action == 1)
        assert timedelta(seconds=60) < now() - NOW < timedelta(seconds=62)
    assert it.peers.names() == ["t"] * 3


async def test_a_cancel_ends_a_pause_at_once() -> None:
    it = bench("a: {on_enter: [{tool: t, retry: {initial: 1s}}], transitions: [b]}", t=[RETRYABLE])
    async with it.process() as process:
        workflow = await process.start()
        await it.store.until(workflow, lambda each: each.instance.attempts == 1)
        await process.cancel(workflow)
        await it.store.end(workflow)

        assert now() - NOW < timedelta(milliseconds=100)


async def test_a_workflow_that_waits_costs_no_worker_anything() -> None:
    it = bench("a: {transitions: [b], timeout: {after: 1h, target: b}}\nb: {terminal: success}")
    async with it.process(max_running=1) as process:
        workflow = await process.start()
        stream = it.store[workflow]

        assert (stream.claim, process.worker.has_room) == (None, True)
        appends = it.store.appends
        await it.store.end(workflow)
        assert it.store.appends == appends + 1
        assert now() - NOW < timedelta(hours=1, seconds=1)


async def test_nothing_more_is_done_when_too_much_would_have_to_be_undone() -> None:
    it = bench(
        """a: {on_enter: [{event: e, payload: {s: "${data.s}"}, compensation: {event: u}}],
              on_success: b}
        b: {transitions: [a, end]}"""
    )
    async with it.process() as process:
        started = await process.start(s="x" * 250_000)
        for number in range(1, 18):
            await it.store.until(
                started, lambda it, most=number: it.kinds().count("ActionCompleted") == most
            )
            await process.signal(started, "a")
        stream = await it.store.end(started)

    assert stream.instance.failure is not None
    assert stream.instance.failure.reason == "TOO_MUCH_TO_UNDO"
    assert stream.instance.phase.value == "compensated"
