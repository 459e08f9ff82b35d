"""Workers: room, claims, and what goes from one to another."""

import asyncio
from datetime import timedelta

import pytest

from services.chassis.errors import Unavailable
from services.workflow.domain import decide
from services.workflow.domain.instance import Standing
from tests.unit.workflow.flow import NOW, ONE
from tests.unit.workflow.running.bench import HEARTBEAT, LOOK, Process, bench
from tests.unit.workflow.running.fakes import COMMIT, LEASE, now

TWO = "a: {on_enter: [{tool: t}, {tool: v}], on_success: b}"
AWAY = Unavailable("EVENT_STORE_UNAVAILABLE", "it is away")


async def moved_unseen(process: Process, workflow_id: str) -> None:
    """Somebody signals, is given the claim, and is cut off before anybody is told."""
    loaded = await process.logs.load("default", workflow_id)
    at = Standing(loaded.definition, loaded.instance, now())
    signal = decide.ev.Signal(target="a", by="ann")
    await process.logs.append(loaded, decide.signalled(at, signal), takes=True)


async def test_so_many_run_at_once_and_the_others_wait_as_rows() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process(max_running=2) as process:
        workflows = [await process.start() for _ in range(5)]
        await it.peers.until(2)
        held = [each for each in workflows if it.store[each].claim is not None]

        assert (len(held), process.worker.has_room) == (2, False)
        go.set()
        for each in workflows:
            await it.store.until(each, lambda stream: stream.instance.next_action == 1)
    assert it.peers.most_at_work == 2
    assert len(it.peers.calls) == 5


async def test_those_that_nobody_works_on_are_counted_by_every_process() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process("w1", max_running=2) as one, it.process("w2", max_running=0) as two:
        for _ in range(5):
            await one.start()
        await it.peers.until(2)
        await asyncio.sleep(2 * HEARTBEAT.total_seconds())

        assert [(each.worker.running, each.worker.waiting) for each in (one, two)] == [
            (2, 3),
            (0, 3),
        ]
        go.set()


async def test_room_that_becomes_free_is_used_at_once() -> None:
    it = bench(TWO)
    async with it.process(max_running=1) as process:
        for workflow in [await process.start() for _ in range(10)]:
            await it.store.end(workflow)

        assert now() - NOW < LOOK


async def test_a_worker_with_room_does_not_look_around_for_each_workflow_that_ends() -> None:
    it = bench(TWO)
    async with it.process() as process:
        for _ in range(20):
            await it.store.end(await process.start())

        assert it.store.finds <= 2 + (now() - NOW) / LOOK


async def test_what_is_due_is_taken_up_within_a_moment() -> None:
    it = bench(ONE)
    async with it.process("w1", max_running=0) as one:
        workflow = await one.start()
        async with it.process("w2"):
            await it.store.until(workflow, lambda stream: stream.instance.next_action == 1)

            assert now() - NOW < timedelta(milliseconds=100)


async def test_a_cancel_in_another_replica_stops_the_action_at_once() -> None:
    it = bench(ONE, t=asyncio.Event())
    async with it.process("w1") as one, it.process("w2") as two:
        workflow = await one.start()
        await it.peers.until(1)
        await two.cancel(workflow)
        await it.store.end(workflow)

        assert now() - NOW < HEARTBEAT
    assert it.peers.names() == ["t", "u"]


async def test_a_cancel_that_nobody_is_told_of_stops_the_action_by_the_next_heartbeat() -> None:
    it = bench(ONE, t=asyncio.Event())
    async with it.process("w1") as one, it.process("w2") as two:
        one.desk.is_deaf = True
        await asyncio.sleep(0)
        workflow = await one.start()
        await it.peers.until(1)
        it.store.wakes["w1"] = asyncio.Queue()
        await two.cancel(workflow)
        await it.store.end(workflow)

        assert HEARTBEAT <= now() - NOW < 2 * HEARTBEAT


async def test_a_long_action_keeps_its_claim() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process("w1") as one, it.process("w2"):
        workflow = await one.start()
        await asyncio.sleep(10 * LEASE.total_seconds())
        claim = it.store[workflow].claim

        assert claim is not None
        assert (claim.owner, claim.epoch) == ("w1", 1)
        go.set()
        await it.store.until(workflow, lambda stream: stream.instance.next_action == 1)
    assert it.peers.names() == ["t"]


async def test_claims_are_kept_while_the_store_is_slow_to_say_what_stands_in_logs() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process("w1") as one, it.process("w2"):
        workflows = [await one.start() for _ in range(10)]
        await it.peers.until(10)
        it.store.reading = 1.0
        await asyncio.sleep(5 * LEASE.total_seconds())

        claims = [it.store[each].claim for each in workflows]
        assert {(each.owner, each.epoch) for each in claims if each} == {("w1", 1)}
        it.store.reading = COMMIT
        go.set()
    assert it.peers.names() == ["t"] * 10


async def test_a_worker_that_loses_a_claim_stops_what_it_did_under_it() -> None:
    it = bench(ONE, t=asyncio.Event())
    async with it.process("w1") as one:
        workflow = await one.start()
        await it.peers.until(1)
        it.store.grant(("default", workflow), "another")
        await it.peers.until(0)

        assert now() - NOW < 2 * HEARTBEAT
        assert one.worker.has_room
    assert it.store[workflow].kinds() == ["Started"]
    assert it.peers.ended == []


async def test_what_comes_under_a_lost_claim_is_not_recorded() -> None:
    go = asyncio.Event()
    it = bench(ONE, t=go)
    async with it.process("w1") as one:
        workflow = await one.start()
        await it.peers.until(1)
        it.store.grant(("default", workflow), "another")
        go.set()
        await asyncio.sleep(2 * HEARTBEAT.total_seconds())
    stream = it.store[workflow]

    assert stream.kinds() == ["Started"]
    assert stream.claim is not None
    assert stream.claim.owner == "another"


async def test_a_claim_that_its_worker_was_never_told_of_is_taken_up() -> None:
    it = bench("a: {on_enter: [{tool: t}], transitions: [a, b]}")
    async with it.process() as process:
        workflow = await process.start()
        await it.store.until(workflow, lambda stream: stream.claim is None)
        await moved_unseen(process, workflow)
        await it.store.until(workflow, lambda stream: stream.instance.next_action == 1)

        assert now() - NOW < 2 * HEARTBEAT
    assert it.peers.names() == ["t", "t"]


async def test_a_worker_that_stops_hands_over_what_it_has() -> None:
    it = bench(ONE, t=[asyncio.Event(), asyncio.Event()])
    async with it.process("w1") as one:
        workflow = await one.start()
        await it.peers.until(1)
    assert it.peers.stopped == ["t"]
    assert it.store[workflow].claim is None

    it.peers.scripts["t"] = []
    began = now()
    async with it.process("w2"):
        await it.store.until(workflow, lambda stream: stream.instance.next_action == 1)
        assert now() - began < timedelta(milliseconds=100)
    assert len(set(it.peers.calls)) == 1
    assert it.peers.ended == []


async def test_what_a_lost_worker_had_under_way_is_ended_by_a_cancel() -> None:
    it = bench(ONE, t=asyncio.Event())
    async with it.process("w1") as one:
        workflow = await one.start()
        await it.peers.until(1)
    await one.cancel(workflow)
    async with it.process("w2"):
        await it.store.end(workflow)

    assert it.peers.ended == [("t", f"{workflow}/1/0")]
    assert it.peers.names() == ["t", "u"]


async def test_a_worker_that_stops_takes_nothing_more() -> None:
    it = bench(ONE)
    async with it.process("w1") as one:
        pass
    workflow = await one.start()

    assert not one.worker.has_room
    assert it.store[workflow].claim is None


async def test_a_workflow_that_cannot_be_run_is_given_back_and_ends_no_other() -> None:
    it = bench(ONE, TWO, v=[RuntimeError("a fault of ours")])  # type: ignore[list-item]
    async with it.process() as process:
        broken = await process.start("e")
        whole = await process.start("d")
        await it.store.until(whole, lambda stream: stream.instance.next_action == 1)
        await it.store.until(broken, lambda stream: stream.claim is None)

        assert now() - NOW < 2 * HEARTBEAT
        it.peers.scripts["v"] = []
        await it.store.end(broken)
    assert it.peers.names().count("v") == 2


async def test_a_workflow_that_is_moved_while_its_execution_ends_goes_on() -> None:
    it = bench("a: {on_enter: [{tool: t}], transitions: [a, b]}")
    async with it.process() as process:
        workflow = await process.start()
        for turn in range(2, 12):
            await it.store.until(workflow, lambda stream: stream.instance.next_action == 1)
            await process.signal(workflow, "a")
            await it.store.until(workflow, lambda _, turn=turn: len(it.peers.calls) == turn)

        assert now() - NOW < LOOK
    assert len(set(it.peers.calls)) == len(it.peers.calls) == 11


@pytest.mark.parametrize("trouble", ["find", "renew", "due_in", "waiting", "woken"])
async def test_one_trouble_ends_no_loop(trouble: str) -> None:
    it = bench(ONE)
    async with it.process("w1", max_running=0) as one:
        workflow = await one.start()
        async with it.process("w2") as two:
            whole = getattr(two.desk, trouble)
            failures = iter([AWAY, RuntimeError("a fault of ours"), AWAY])

            async def failing(*given: object) -> object:
                if (error := next(failures, None)) is not None:
                    raise error
                return await whole(*given)

            setattr(two.desk, trouble, failing)
            await asyncio.sleep(5 * HEARTBEAT.total_seconds())
            await two.cancel(workflow)
            await it.store.end(workflow)

            assert next(failures, None) is None
