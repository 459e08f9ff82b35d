"""Two replicas on one PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.workflow.office import Office
from tests.integration.workflow.world import SHARED, World, kinds, plain, started
from tests.servers.postgres import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOP = "name: loop\nstate_machine: {a: {transitions: [a, b]}}"
Pair = tuple[World, World]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    """Both, with the same tools."""
    office = Office()
    with postgres() as server:
        shared = SHARED.model_copy(update={"event_store": server.url})
        async with started(shared, office=office) as one, started(shared, office=office) as other:
            yield one, other


async def test_what_one_stores_the_other_knows(pair: Pair) -> None:
    one, other = pair
    await one.define(LOOP)
    begun = await other.start("loop")

    moved = await one.signal(begun, target="a", payload={"n": 1})

    assert await other.get(begun) == moved
    assert plain(moved.data) == {"n": 1}


async def test_the_same_start_at_both_is_one(pair: Pair) -> None:
    await pair[0].define(LOOP)

    begun = await asyncio.gather(
        *(each.start("loop", idempotency_key="twice") for each in (*pair, *pair))
    )

    assert len({each.workflow_id for each in begun}) == 1


async def test_signals_at_both_all_count(pair: Pair) -> None:
    await pair[0].define(LOOP)
    begun = await pair[0].start("loop")

    await asyncio.gather(
        *(pair[n % 2].signal(begun, target="a", payload={f"n{n}": n}) for n in range(12))
    )

    there = await pair[1].get(begun)
    assert (there.last_sequence, len(plain(there.data))) == (13, 12)


async def test_a_watch_at_one_sees_what_happens_at_the_other(pair: Pair) -> None:
    one, other = pair
    await one.define(LOOP)
    begun = await one.start("loop")
    watching = asyncio.create_task(one.log(begun))
    await other.signal(begun, target="a")
    await other.signal(begun, target="b")

    async with asyncio.timeout(10):
        log = await watching

    assert kinds(log) == ["workflow_started", "transition", "transition", "workflow_ended"]
    assert log == await other.log(begun)


async def test_a_cancel_at_one_stops_an_action_that_runs_at_the_other(pair: Pair) -> None:
    one, other = pair
    await one.define(
        "name: cut\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: far},"
        " compensation: {tool: do, input: {undo: 1}}}], on_success: b}"
    )
    begun = await other.start("cut")
    async with asyncio.timeout(10):
        await one.office.reached["far"].wait()
        await one.cancel(begun, "enough")
        await one.office.left["far"].wait()

    done = await one.ended(begun)

    assert (done.status, one.office.of(begun.workflow_id)[-1][0]) == ("compensated", "1/0/undo")
    assert len(one.office.of(begun.workflow_id)) == 2


async def test_a_timer_is_kept_by_whichever_is_there(pair: Pair) -> None:
    one, other = pair
    await one.define(
        "name: timed\nstate_machine:\n"
        "  a: {transitions: [b], timeout: {after: 2s, target: late}}\n  late: {terminal: success}"
    )
    begun = [await each.start("timed") for each in (one, other)]

    done = [await one.ended(each) for each in begun]

    assert [each.current_state for each in done] == ["late", "late"]
    for each in begun:
        (moved,) = (event for event in await other.log(each) if event.cause == "timeout")
        assert moved.metrics.transition_time_ms < 1000
