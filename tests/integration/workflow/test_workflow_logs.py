"""Logs: pages of events, and watches."""

import asyncio
from typing import Any

import pytest
from runplane.workflow.v1 import events_pb2

from tests.integration.workflow.world import DOCUMENTS, World, kinds, plain, refused, struct

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOP = "name: loop\nstate_machine: {a: {transitions: [a, b]}}"


async def looped(world: World, times: int) -> str:
    """A workflow that has gone round so often."""
    started = await world.run(LOOP, {"doc_id": "doc_1"})
    for number in range(times):
        await world.signal(started, target="a", payload={"n": number})
    return started.workflow_id


async def test_an_event_has_the_shape_that_users_see(world: World) -> None:
    started = await world.run(
        DOCUMENTS + "events: {review: document_reviewed}", {"doc_id": "doc_1"}, correlation_id="c1"
    )
    await world.signal(started, target="review", payload={"pages": 3})

    first, moved = (await world.events(started)).events

    assert plain(moved) == {
        "type": "transition",
        "event_type": "document_reviewed",
        "workflow_id": started.workflow_id,
        "sequence": 2,
        "tenant": "default",
        "correlation_id": "c1",
        "payload": {"pages": 3},
        "status": "waiting",
        "previous_state": "draft",
        "next_state": "review",
        "orchestrator": "local",
        "timestamp": plain(moved)["timestamp"],
        "metrics": plain(moved)["metrics"],
        "signal": "review",
        "cause": "signal",
        "previous_hash": moved.previous_hash,
        "trace_id": moved.trace_id,
    }
    assert (first.type, first.next_state) == ("workflow_started", "draft")
    assert (first.previous_hash, len(moved.previous_hash)) == ("", 64)


async def test_every_event_says_what_it_took(world: World) -> None:
    started = await world.run(LOOP)
    await world.signal(started, target="b")

    log = await world.log(started)

    three = {"transition_time_ms", "validation_time_ms", "compensation_time_ms"}
    assert [set(plain(event.metrics)) for event in log] == [three] * 3
    assert log[0].metrics.transition_time_ms > 0
    assert log[1].metrics.transition_time_ms > 0


async def test_events_come_by_pages(world: World) -> None:
    workflow = await looped(world, 6)

    shown: list[events_pb2.WorkflowEvent] = []
    token, pages = "", 0
    while pages == 0 or token:
        page = await world.events(workflow, page_size=3, page_token=token)
        shown += page.events
        token, pages = page.next_page_token, pages + 1

    assert [event.sequence for event in shown] == list(range(1, 8))
    assert pages == 3


async def test_events_begin_after_the_one_that_is_known(world: World) -> None:
    workflow = await looped(world, 4)

    page = await world.events(workflow, after_sequence=3, page_size=1)
    rest = await world.events(workflow, after_sequence=3, page_token=page.next_page_token)
    none = await world.events(workflow, after_sequence=99)

    assert [event.sequence for event in page.events] == [4]
    assert [event.sequence for event in rest.events] == [5]
    assert list(none.events) == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "PAGE_SIZE_INVALID"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ({"after_sequence": -1}, "INVALID_REQUEST"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(
    world: World, fields: dict[str, Any], reason: str
) -> None:
    workflow = await looped(world, 0)

    assert (await refused(world.events(workflow, **fields))).what == ("INVALID_ARGUMENT", reason)


async def test_a_token_of_another_workflow_is_refused(world: World) -> None:
    one, other = await looped(world, 2), await looped(world, 2)
    page = await world.events(one, page_size=1)

    for fields in ({"workflow": other}, {"workflow": one, "after_sequence": 1}):
        refusal = await refused(world.events(page_token=page.next_page_token, **fields))
        assert refusal.reason == "PAGE_TOKEN_INVALID"


async def test_watchers_see_the_same_whenever_they_join(world: World) -> None:
    workflow = await looped(world, 2)
    early = asyncio.create_task(world.log(workflow))
    await world.signal(workflow, target="a")
    late = asyncio.create_task(world.log(workflow))
    await world.signal(workflow, target="b")

    async with asyncio.timeout(10):
        logs = [await early, await late, await world.log(workflow)]

    assert logs[0] == logs[1] == logs[2]
    assert [event.sequence for event in logs[0]] == list(range(1, 7))
    assert logs[0][-1].type == "workflow_ended"
    assert logs[0] == list((await world.events(workflow)).events)


async def test_a_watch_goes_on_where_it_broke_off(world: World) -> None:
    workflow = await looped(world, 3)
    watching = world.watch(workflow, after=2)
    first = await anext(aiter(watching))
    watching.cancel()  # type: ignore[attr-defined]
    resumed = world.watch(workflow, after=first.sequence)
    await world.signal(workflow, target="b")

    rest = [event.sequence async for event in resumed]

    assert first.sequence == 3
    assert rest == [4, 5, 6]


async def test_a_watch_of_what_has_ended_ends(world: World) -> None:
    workflow = await looped(world, 0)
    await world.signal(workflow, target="b")
    last = len(await world.log(workflow))

    assert [event async for event in world.watch(workflow, after=last)] == []
    assert [event async for event in world.watch(workflow, after=99)] == []


async def test_a_watch_that_cannot_be_is_refused(world: World) -> None:
    workflow = await looped(world, 0)

    for name, after, what in (
        ("wf_nothing", 0, ("NOT_FOUND", "WORKFLOW_NOT_FOUND")),
        ("definition/loop", 0, ("NOT_FOUND", "WORKFLOW_NOT_FOUND")),
        (workflow, -1, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
    ):
        assert (await refused(anext(aiter(world.watch(name, after))))).what == what


async def test_a_watch_goes_on_over_a_compensation_that_is_asked_for_later(world: World) -> None:
    started = await world.run(
        "name: undoable\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {}, compensation: {tool: do, input: {}}}],"
        " on_success: b}"
    )
    done = await world.ended(started)

    await world.compensate(started, "sorry")
    rest = [event async for event in world.watch(started, after=done.last_sequence)]

    assert kinds(rest) == ["compensation_started", "action_compensated", "workflow_ended"]
    assert rest[-1].status == "compensated"


async def test_a_long_log_is_shown_whole(world: World) -> None:
    workflow = await looped(world, 150)

    there = await world.get(workflow)
    page = await world.events(workflow, page_size=1000)

    assert there.last_sequence == len(page.events) == 151
    assert plain(there.data) == {"doc_id": "doc_1", "n": 149}
    assert struct({"n": 149}) == page.events[-1].payload


async def test_who_joins_after_a_later_compensation_sees_it_too(world: World) -> None:
    started = await world.run(
        "name: undone\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {}, compensation: {tool: do, input: {}}}],"
        " on_success: b}"
    )
    done = await world.ended(started)
    await world.compensate(started, "sorry")
    rest = [event async for event in world.watch(started, after=done.last_sequence)]

    whole = await world.log(started)

    assert kinds(whole)[-1] == "workflow_ended"
    assert [event.sequence for event in whole] == list(range(1, rest[-1].sequence + 1))
