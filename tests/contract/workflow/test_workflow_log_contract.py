"""What every workflow log does, whichever store it is on."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest
from runplane.workflow.v1 import events_pb2, workflow_pb2

from services.chassis.errors import Aborted, AlreadyExists, Internal, NotFound
from services.chassis.eventlog.port import Claim, Compare, Key
from services.workflow.adapters import codec
from services.workflow.domain import decide, outcomes
from services.workflow.domain import events as ev
from services.workflow.domain.instance import Phase
from services.workflow.domain.steps import Run, next_step
from services.workflow.ports import Loaded
from tests.contract.workflow.conftest import LEASE, Place

NAME = ("acme", "wf_1")
KEY = Key("workflow", "k1", "print", timedelta(hours=24))
BROKEN = outcomes.Failed(ev.Failure("UNAVAILABLE", "DOWN", "it is down"), is_retryable=True)


async def claimed(place: Place) -> Claim:
    (claim,) = await place.store.claim("workflow", place.owner, limit=9, lease=LEASE)
    return claim


async def due(place: Place) -> timedelta | None:
    return await place.store.due_in("workflow")


async def followed(place: Place, after: int = 0, count: int = 1000) -> list[str]:
    """Types of events that a watcher sees, until the end or so many."""
    types: list[str] = []
    async with asyncio.timeout(10), aclosing(place.logs.watch(*NAME, after=after)) as bodies:
        async for body in bodies:
            types.append(events_pb2.WorkflowEvent.FromString(body).type)
            if len(types) == count:
                break
    return types


async def test_a_log_that_was_begun_is_loaded_as_it_stands(place: Place) -> None:
    begun = await place.begun()

    loaded = await place.elsewhere().logs.load(*NAME)

    assert loaded == begun.loaded
    assert (loaded.instance.sequence, loaded.instance.state) == (1, "charging")
    assert loaded.instance.data == {"amount": 12}


async def test_events_are_chained_by_their_hashes(place: Place) -> None:
    reviewed = await place.reviewed()

    bodies = await place.logs.events(*NAME, after=0, limit=9)

    named = [events_pb2.WorkflowEvent.FromString(each).previous_hash for each in bodies]
    assert named == ["", *map(codec.hash_of, bodies[:-1])]
    assert reviewed.loaded.head == codec.hash_of(bodies[-1])


async def test_what_was_appended_elsewhere_is_seen_by_a_fresh_look(place: Place) -> None:
    begun = await place.begun()
    other = place.elsewhere()
    await other.logs.load(*NAME)
    await place.logs.append(begun.loaded, place.acted(begun.loaded))

    lately = await other.logs.load(*NAME)
    fresh = await other.logs.load(*NAME, is_fresh=True)

    assert (lately.instance.sequence, fresh.instance.sequence) == (1, 3)
    assert await other.logs.load(*NAME) == fresh


async def test_of_two_changes_of_the_same_workflow_one_wins(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    other = place.elsewhere()

    results = await asyncio.gather(
        place.logs.append(loaded, place.signalled(loaded, "done")),
        other.logs.append(loaded, place.signalled(loaded, "failed")),
        return_exceptions=True,
    )

    lost = [each for each in results if isinstance(each, BaseException)]
    assert [each.reason for each in lost if isinstance(each, Aborted)] == ["SEQUENCE_CONFLICT"]
    assert len(lost) == 1


async def test_who_lost_a_race_loads_what_the_other_recorded(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    other = place.elsewhere()
    await other.logs.load(*NAME)
    await place.logs.append(loaded, place.signalled(loaded, "review"))

    with pytest.raises(Aborted):
        await other.logs.append(loaded, place.signalled(loaded, "done"))

    assert (await other.logs.load(*NAME)).instance.sequence == 4


async def test_nothing_is_kept_of_a_change_that_lost(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    await place.logs.append(loaded, place.signalled(loaded, "review"))
    shown = await place.logs.shown(*NAME)

    with pytest.raises(Aborted):
        await place.logs.append(loaded, place.signalled(loaded, "done"), key=KEY)

    assert await place.logs.shown(*NAME) == shown
    assert await place.logs.kept("acme", KEY) is None
    assert await place.elsewhere().verifications.verify(*NAME)


async def test_a_key_stands_for_the_workflow_that_was_begun_with_it(place: Place) -> None:
    await place.begun(key=KEY)

    kept = await place.logs.kept("acme", KEY)
    with pytest.raises(AlreadyExists) as caught:
        await place.begun("wf_2", key=KEY)

    assert kept is not None
    assert (kept.stream_id, kept.fingerprint) == ("wf_1", "print")
    assert caught.value.reason == "IDEMPOTENCY_KEY_TAKEN"
    with pytest.raises(NotFound):
        await place.elsewhere().logs.load("acme", "wf_2")


async def test_keys_are_each_tenants_own_and_expire(place: Place) -> None:
    await place.begun(key=KEY)

    assert await place.logs.kept("best", KEY) is None
    place.clock.advance(timedelta(hours=25))
    assert await place.logs.kept("acme", KEY) is None


async def test_a_change_with_a_key_is_made_once(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    moved = await place.logs.append(loaded, place.signalled(loaded, "review"), key=KEY)

    with pytest.raises(AlreadyExists):
        await place.logs.append(moved.loaded, place.signalled(moved.loaded, "review"), key=KEY)

    assert (await place.elsewhere().logs.load(*NAME)).instance.sequence == 4


async def test_who_begins_a_workflow_that_has_something_to_do_may_have_it(place: Place) -> None:
    begun = await place.begun(takes=True)

    assert begun.claim is not None
    assert begun.claim.owner == "worker_1"
    assert not await place.store.claim("workflow", "worker_2", limit=9, lease=LEASE)


async def test_one_that_nobody_takes_is_anybodys(place: Place) -> None:
    begun = await place.begun()

    assert begun.claim is None
    assert (await claimed(place)).stream_id == "wf_1"


async def test_a_worker_keeps_its_claim_while_there_is_something_to_do(place: Place) -> None:
    begun = await place.begun(takes=True)
    failed = outcomes.Failed(ev.Failure("INTERNAL", "BUG", "it broke"), is_uncertain=True)

    after = await place.logs.append(
        begun.loaded, place.acted(begun.loaded, failed), claim=begun.claim
    )

    assert after.loaded.instance.phase is Phase.COMPENSATING
    assert after.claim == begun.claim
    assert not await place.store.claim("workflow", "worker_2", limit=9, lease=LEASE)


async def test_a_workflow_that_waits_is_given_back_until_its_timer_is_due(place: Place) -> None:
    begun = await place.begun(takes=True)

    rests = await place.logs.append(begun.loaded, place.acted(begun.loaded), claim=begun.claim)

    assert rests.claim is None
    assert await due(place) == timedelta(hours=1)
    place.clock.advance(timedelta(hours=1))
    assert (await claimed(place)).stream_id == "wf_1"


async def test_one_whose_attempt_failed_is_kept_until_the_next_one_is_near(place: Place) -> None:
    begun = await place.begun(takes=True)

    again = await place.logs.append(
        begun.loaded, place.acted(begun.loaded, BROKEN), claim=begun.claim
    )

    assert again.loaded.instance.attempts == 1
    assert again.claim == begun.claim


async def test_one_whose_next_attempt_is_far_is_given_back(place: Place) -> None:
    begun = await place.begun(takes=True)
    later = outcomes.Failed(BROKEN.failure, is_retryable=True, retry_after=timedelta(minutes=5))

    again = await place.logs.append(
        begun.loaded, place.acted(begun.loaded, later), claim=begun.claim
    )

    assert again.claim is None
    assert await due(place) == timedelta(minutes=5)


async def test_one_that_waits_for_another_workflow_is_given_back_to_look_later(
    place: Place,
) -> None:
    text = """
name: parent
initial: asking
state_machine: {asking: {on_enter: [{workflow: order}], on_success: asked}}
"""
    definition = await place.defined(text=text)
    spec = ev.Spec("wf_1", "acme", "ann", "parent", 1, "o1", "ab" * 16)
    started = decide.started(definition, spec, {}, place.clock())
    begun = await place.logs.begin(definition, started, takes=True)
    at = place.at(begun.loaded)
    step = next_step(at)
    assert isinstance(step, Run)

    looks = await place.logs.append(
        begun.loaded, outcomes.child_started(at, step, "wf_2"), claim=begun.claim
    )

    assert looks.claim is None
    assert await due(place) == timedelta(seconds=30)


async def test_one_that_is_over_wants_nobody(place: Place) -> None:
    loaded = (await place.reviewed()).loaded

    over = await place.logs.append(loaded, place.signalled(loaded, "done"))

    assert over.loaded.instance.phase is Phase.COMPLETED
    assert over.claim is None
    assert await due(place) is None


async def test_one_that_is_over_wants_somebody_when_it_is_to_be_undone(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    over = (await place.logs.append(loaded, place.signalled(loaded, "done"))).loaded

    undoing = decide.compensation_asked(place.at(over), by="ann")
    await place.logs.append(over, undoing)

    assert (await claimed(place)).stream_id == "wf_1"


async def test_what_others_record_tells_them_who_works_on_it(place: Place) -> None:
    begun = await place.begun(takes=True)
    other = place.elsewhere()
    loaded = await other.logs.load(*NAME)

    canceled = decide.canceled(place.at(loaded), by="ann")
    appended = await other.logs.append(loaded, canceled, takes=True)

    assert appended.claim == begun.claim


async def test_a_worker_that_lost_its_claim_records_nothing(place: Place) -> None:
    begun = await place.begun(takes=True)
    place.clock.advance(LEASE + timedelta(seconds=1))
    assert await place.store.claim("workflow", "worker_2", limit=9, lease=LEASE)

    with pytest.raises(Aborted) as caught:
        await place.logs.append(begun.loaded, place.acted(begun.loaded), claim=begun.claim)

    assert caught.value.reason == "CLAIM_LOST"
    assert (await place.elsewhere().logs.load(*NAME)).instance.sequence == 1


async def test_only_who_has_a_workflow_abandons_it(place: Place) -> None:
    begun = await place.begun(takes=True)
    assert begun.claim is not None
    place.clock.advance(LEASE + timedelta(seconds=1))
    (theirs,) = await place.store.claim("workflow", "worker_2", limit=9, lease=LEASE)

    with pytest.raises(Aborted):
        await place.logs.abandon(begun.claim)
    await place.logs.abandon(theirs)

    left = await due(place)
    assert left is not None
    assert left > timedelta(days=10_000)


async def test_an_abandoned_workflow_is_taken_up_when_something_is_recorded(place: Place) -> None:
    begun = await place.begun(takes=True)
    assert begun.claim is not None
    await place.logs.abandon(begun.claim)

    await place.logs.append(begun.loaded, decide.canceled(place.at(begun.loaded), by="ann"))

    assert (await claimed(place)).stream_id == "wf_1"


async def long(place: Place, signals: int) -> Loaded:
    """A workflow that was signalled so often."""
    loaded = (await place.reviewed()).loaded
    for number in range(signals):
        place.clock.advance(timedelta(seconds=1))
        decided = place.signalled(loaded, "review", **{f"n{number % 7}": [number, 0.5, None, "ü"]})
        loaded = (await place.logs.append(loaded, decided)).loaded
    return loaded


@pytest.mark.parametrize("signals", [28, 29, 61, 200])
async def test_a_snapshot_and_the_events_since_are_as_good_as_all_events(
    place: Place, signals: int
) -> None:
    last = await long(place, signals)
    kept = await place.store.snapshot(*NAME)

    loaded = await place.elsewhere().logs.load(*NAME)
    if kept is not None:
        await place.tampering.snapshot(NAME, kept.sequence, b"none")
    replayed = await place.elsewhere().logs.load(*NAME)

    assert loaded == last == replayed
    assert (kept is not None) == (signals >= 29)
    assert (await place.elsewhere().verifications.verify(*NAME)).last_sequence >= signals + 3


async def test_a_snapshot_is_of_the_last_event_of_its_append(place: Place) -> None:
    await long(place, 29)

    kept = await place.store.snapshot(*NAME)

    assert kept is not None
    assert kept.sequence == 32
    loaded = await place.elsewhere().logs.load(*NAME)
    assert loaded.head == codec.hash_of((await place.store.read(*NAME, after=31))[0].body)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
async def test_a_watcher_sees_all_events_and_the_end(place: Place, count: int) -> None:
    loaded = await long(place, count)
    await place.logs.append(loaded, place.signalled(loaded, "done"))

    types = await followed(place)

    assert len(types) == count + 5
    assert types[-1] == "workflow_ended"
    assert await followed(place, after=count + 3) == types[count + 3 :]
    assert await followed(place, after=count + 5) == []


async def test_a_watcher_sees_what_is_recorded_while_it_watches(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    watching = asyncio.ensure_future(followed(place, after=2))
    moved = await place.logs.append(loaded, place.signalled(loaded, "review"))
    await asyncio.sleep(0)

    await place.logs.append(moved.loaded, place.signalled(moved.loaded, "done"))

    assert await watching == ["transition", "transition", "transition", "workflow_ended"]


async def test_a_watcher_sees_what_another_process_records(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    other = place.elsewhere()
    watching = asyncio.ensure_future(followed(place))

    await other.logs.append(loaded, place.signalled(loaded, "done"))

    assert (await watching)[-1] == "workflow_ended"


@pytest.mark.parametrize("signals", [11, 12, 13])
async def test_a_watcher_reads_on_past_an_end_that_was_not_the_last(
    place: Place, signals: int
) -> None:
    """The first page that is read has 16 events; the first end is among them, or the last."""
    loaded = await long(place, signals)
    over = (await place.logs.append(loaded, place.signalled(loaded, "done"))).loaded
    undoing = decide.compensation_asked(place.at(over), by="ann")
    loaded = (await place.logs.append(over, undoing)).loaded
    await place.logs.append(loaded, place.acted(loaded))

    types = await followed(place)

    assert types[-4:] == [
        "workflow_ended",
        "compensation_started",
        "action_compensated",
        "workflow_ended",
    ]


async def test_pages_of_events_go_on_where_the_one_before_ended(place: Place) -> None:
    await long(place, 20)

    pages = [await place.logs.events(*NAME, after=after, limit=8) for after in (0, 8, 16, 23)]

    numbers = [
        events_pb2.WorkflowEvent.FromString(body).sequence for page in pages for body in page
    ]
    assert [len(page) for page in pages] == [8, 8, 7, 0]
    assert numbers == list(range(1, 24))


async def test_lists_show_each_tenants_workflows_the_newest_first(place: Place) -> None:
    for name in ("wf_1", "wf_2", "wf_3"):
        await place.begun(name)
    await place.begun("wf_4", tenant="best")

    first = await place.logs.page("acme", None, after="", limit=2)
    second = await place.logs.page("acme", None, after="wf_2", limit=2)

    assert [name for name, _ in (*first, *second)] == ["wf_3", "wf_2", "wf_1"]
    assert workflow_pb2.Workflow.FromString(first[0][1]).workflow_id == "wf_3"


async def test_lists_are_filtered_by_what_workflows_are(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    await place.begun("wf_2")
    await place.logs.append(loaded, place.signalled(loaded, "done"))

    for where, names in (
        (Compare("status", "=", "completed"), ["wf_1"]),
        (Compare("current_state", "=", "charging"), ["wf_2"]),
        (Compare("labels.a", "=", "b"), ["wf_2", "wf_1"]),
        (Compare("version", ">=", 2.0), []),
    ):
        found = await place.logs.page("acme", where, after="", limit=9)
        assert [name for name, _ in found] == names


async def test_another_tenants_workflow_is_not_there(place: Place) -> None:
    await place.reviewed()

    for look in (
        place.logs.load("best", "wf_1"),
        place.logs.shown("best", "wf_1"),
        place.logs.events("best", "wf_1", after=0, limit=9),
        anext(place.logs.watch("best", "wf_1", after=0)),
        place.verifications.verify("best", "wf_1"),
    ):
        with pytest.raises(NotFound) as caught:
            await look
        assert caught.value.reason == "WORKFLOW_NOT_FOUND"


async def test_two_tenants_may_have_workflows_of_one_name(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    await place.begun("wf_1", tenant="best")

    await place.logs.append(loaded, place.signalled(loaded, "done"))

    assert (await place.elsewhere().logs.load("best", "wf_1")).instance.sequence == 1


@pytest.mark.parametrize("workflow_id", ["definition/order", "verify", "", "wf_none"])
async def test_what_is_no_workflow_is_not_found(place: Place, workflow_id: str) -> None:
    await place.begun()

    for look in (
        place.logs.load("acme", workflow_id),
        place.logs.shown("acme", workflow_id),
        place.logs.events("acme", workflow_id, after=0, limit=9),
        place.verifications.verify("acme", workflow_id),
    ):
        with pytest.raises(NotFound):
            await look


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x0a\x01\xff", b"\x00" * 40])
async def test_bytes_that_are_no_event_are_a_clear_error(place: Place, body: bytes) -> None:
    await place.reviewed()
    await place.tampering.event(NAME, 2, body=body)

    with pytest.raises(Internal) as caught:
        await place.elsewhere().logs.load(*NAME)

    assert (caught.value.reason, caught.value.metadata["sequence"]) == ("WORKFLOW_CORRUPT", "2")


async def test_an_event_that_is_gone_is_a_clear_error(place: Place) -> None:
    await long(place, 3)
    await place.tampering.lose_event(NAME, 5)

    with pytest.raises(Internal) as caught:
        await place.elsewhere().logs.load(*NAME)

    assert (caught.value.reason, caught.value.metadata["sequence"]) == ("WORKFLOW_CORRUPT", "5")
