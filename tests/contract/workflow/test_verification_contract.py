"""What a verification finds, and what it mends."""

import asyncio
from datetime import timedelta

import pytest
from runplane.workflow.v1 import events_pb2, workflow_pb2

from services.chassis import structs
from services.chassis.errors import Internal, NotFound, Unavailable
from services.workflow.adapters import snapshots
from services.workflow.domain.verification import Verified
from services.workflow.mapping.workflows import HEAD, RECORD
from tests.contract.workflow.conftest import Place

NAME = ("acme", "wf_1")


async def verified(place: Place) -> Verified:
    return await place.elsewhere().verifications.verify(*NAME)


def kinds(found: Verified) -> list[tuple[str, int, bool]]:
    return [(each.fault.value, each.sequence, each.is_repaired) for each in found.findings]


async def other_body(place: Place, sequence: int) -> bytes:
    """An event with another payload."""
    stored = (await place.store.read(*NAME, after=sequence - 1, limit=1))[0]
    message = events_pb2.WorkflowEvent.FromString(stored.body)
    message.payload.Clear()
    structs.from_dict({"amount": 1_000_000, "output": {}}, message.payload)
    return message.SerializeToString(deterministic=True)


async def test_a_workflow_that_is_whole_is_consistent_and_left_as_it_is(place: Place) -> None:
    await place.reviewed()

    found = await verified(place)

    assert (found.count, found.last_sequence, found.findings) == (3, 3, [])
    assert len(await place.store.read(*NAME)) == 3


async def test_a_workflow_that_is_not_there_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound) as caught:
        await verified(place)

    assert caught.value.reason == "WORKFLOW_NOT_FOUND"


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_a_changed_event_is_named_and_nothing_is_written(place: Place, sequence: int) -> None:
    await place.reviewed()
    body = await other_body(place, sequence)
    await place.tampering.event(NAME, sequence, body=body)
    shown = await place.logs.shown(*NAME)

    found = await verified(place)

    assert kinds(found)[0] == ("EVENT_CHANGED", sequence, False)
    assert not any(each.is_repaired for each in found.findings)
    assert len(await place.store.read(*NAME)) == 3
    assert await place.logs.shown(*NAME) == shown


async def test_another_type_or_time_than_the_event_has_counts_as_changed(place: Place) -> None:
    await place.reviewed()
    await place.tampering.event(NAME, 2, time=place.clock() + timedelta(seconds=1))
    await place.tampering.event(NAME, 3, type="workflow.ended.v1")

    found = await verified(place)

    assert [each[:2] for each in kinds(found)[:2]] == [("EVENT_CHANGED", 2), ("EVENT_CHANGED", 3)]
    assert [each.message for each in found.findings[:2]] == [
        "is not stored with its own time",
        "is not stored with its own type",
    ]


async def test_an_event_of_no_type_is_unreadable(place: Place) -> None:
    await place.reviewed()
    await place.tampering.event(NAME, 2, type="")

    assert kinds(await verified(place))[0] == ("EVENT_UNREADABLE", 2, False)


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_what_a_newer_version_wrote_is_for_that_one_to_verify(
    place: Place, sequence: int
) -> None:
    await place.reviewed()
    await place.tampering.event(NAME, sequence, type="workflow.rested.v1")
    shown = await place.logs.shown(*NAME)

    with pytest.raises(Unavailable) as caught:
        await verified(place)

    assert caught.value.reason == "WRITTEN_BY_NEWER_VERSION"
    assert await place.logs.shown(*NAME) == shown


async def test_an_attribute_that_only_a_newer_version_has_is_no_difference(place: Place) -> None:
    await place.reviewed()
    record = await place.store.record(NAME[0], RECORD, NAME[1])
    assert record is not None
    more = {**record.attributes, "priority": 3.0}
    await place.tampering.record(NAME, RECORD, record.body, more)

    assert (await verified(place)).findings == []


async def test_bytes_that_are_no_event_are_unreadable(place: Place) -> None:
    await place.reviewed()
    await place.tampering.event(NAME, 2, body=b"\xff\xff")

    assert kinds(await verified(place)) == [
        ("EVENT_UNREADABLE", 2, False),
        ("EVENT_CHANGED", 2, False),
    ]


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_an_event_that_is_gone_is_named(place: Place, sequence: int) -> None:
    await place.reviewed()
    await place.tampering.lose_event(NAME, sequence)

    found = await verified(place)

    assert kinds(found)[0] == ("EVENT_CHANGED", sequence, False)
    assert not any(each.is_repaired for each in found.findings)


async def test_a_projection_that_differs_is_written_anew_with_an_event(place: Place) -> None:
    await place.reviewed()
    wrong = workflow_pb2.Workflow.FromString(await place.logs.shown(*NAME))
    wrong.current_state = "done"
    await place.tampering.record(NAME, RECORD, wrong.SerializeToString())

    found, again = await verified(place), await verified(place)

    assert kinds(found) == [("PROJECTION_DIFFERS", 0, True)]
    assert (found.count, found.last_sequence, found.findings[0].message) == (4, 4, "current_state")
    assert again.findings == []
    event = events_pb2.WorkflowEvent.FromString(
        (await place.logs.events(*NAME, after=3, limit=9))[0]
    )
    assert (event.type, list(event.problems)) == (
        "projection_repaired",
        ["projection: current_state"],
    )
    shown = workflow_pb2.Workflow.FromString(await place.logs.shown(*NAME))
    assert (shown.current_state, shown.last_sequence) == ("review", 4)


async def test_what_lists_are_filtered_by_is_verified_too(place: Place) -> None:
    await place.reviewed()
    record = await place.store.record("acme", RECORD, "wf_1")
    assert record is not None
    attributes = {**record.attributes, "status": "failed"}
    await place.tampering.record(NAME, RECORD, record.body, attributes)

    found = await verified(place)

    assert [each.message for each in found.findings] == ["filter status"]
    assert (await verified(place)).findings == []


@pytest.mark.parametrize("body", [b"", b"\xff\xff"])
async def test_a_projection_that_cannot_be_read_is_written_anew(place: Place, body: bytes) -> None:
    await place.reviewed()
    await place.tampering.record(NAME, RECORD, body)

    assert kinds(await verified(place)) == [("PROJECTION_DIFFERS", 0, True)]
    assert (await verified(place)).findings == []


async def test_a_projection_of_an_event_before_is_written_anew(place: Place) -> None:
    begun = await place.begun()
    old = await place.store.record("acme", RECORD, "wf_1")
    assert old is not None
    await place.logs.append(begun.loaded, place.acted(begun.loaded))
    await place.tampering.record(NAME, RECORD, old.body, old.attributes)

    found = await verified(place)

    assert [each.message for each in found.findings] == ["last_sequence"]
    assert (await verified(place)).findings == []


async def test_a_projection_that_is_gone_is_written_anew(place: Place) -> None:
    await place.reviewed()
    await place.tampering.lose_record(NAME, RECORD)

    assert kinds(await verified(place)) == [("PROJECTION_MISSING", 0, True)]
    assert (await verified(place)).findings == []


async def test_a_head_that_is_wrong_counts_against_the_last_event(place: Place) -> None:
    await place.reviewed()
    record = await place.store.record("acme", RECORD, "wf_1")
    assert record is not None
    attributes = {**record.attributes, HEAD: "0" * 64}
    await place.tampering.record(NAME, RECORD, record.body, attributes)

    assert kinds(await verified(place)) == [("EVENT_CHANGED", 3, False)]


async def test_a_head_that_is_wrong_is_the_projections_fault_where_the_snapshot_knows_better(
    place: Place,
) -> None:
    await snapshotted(place)
    record = await place.store.record("acme", RECORD, "wf_1")
    assert record is not None
    attributes = {**record.attributes, HEAD: "0" * 64}
    await place.tampering.record(NAME, RECORD, record.body, attributes)

    found = await verified(place)

    assert [(each.fault.value, each.message) for each in found.findings] == [
        ("PROJECTION_DIFFERS", "head")
    ]


async def snapshotted(place: Place) -> None:
    """A workflow with a snapshot of its last event."""
    reviewed = await place.reviewed()
    place.clock.advance(timedelta(minutes=2))
    decided = place.signalled(reviewed.loaded, "review", note="seen")
    await place.logs.append(reviewed.loaded, decided)
    assert (snapshot := await place.store.snapshot(*NAME)) is not None
    assert snapshot.sequence == 4


async def test_a_snapshot_is_compared_too(place: Place) -> None:
    await snapshotted(place)

    assert (await verified(place)).findings == []


async def test_a_snapshot_that_differs_is_replaced(place: Place) -> None:
    await snapshotted(place)
    kept = await place.store.snapshot(*NAME)
    assert kept is not None
    wrong = kept.body.replace(b'"seen"', b'"lies"')
    await place.tampering.snapshot(NAME, kept.sequence, wrong)

    found = await verified(place)

    assert kinds(found) == [("SNAPSHOT_DIFFERS", 0, True)]
    assert found.findings[0].message == "data"
    assert (await place.store.snapshot(*NAME)) != kept
    fresh = await place.elsewhere().logs.load(*NAME)
    assert fresh.instance.data["note"] == "seen"
    assert (await verified(place)).findings == []


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b'{"instance": {"data": NaN}}'])
async def test_a_snapshot_that_cannot_be_read_is_replaced(place: Place, body: bytes) -> None:
    await snapshotted(place)
    await place.tampering.snapshot(NAME, 4, body)

    assert kinds(await verified(place)) == [("SNAPSHOT_DIFFERS", 0, True)]
    assert (await verified(place)).findings == []


@pytest.mark.parametrize(
    ("right", "wrong"), [(b'"state":"review"', b'"state":"nowhere"'), (b'"wf_1"', b'"wf_2"')]
)
async def test_a_snapshot_that_makes_no_sense_is_not_gone_by(
    place: Place, right: bytes, wrong: bytes
) -> None:
    await snapshotted(place)
    kept = await place.store.snapshot(*NAME)
    assert kept is not None
    assert right in kept.body
    await place.tampering.snapshot(NAME, kept.sequence, kept.body.replace(right, wrong))

    loaded = await place.elsewhere().logs.load(*NAME)

    assert (loaded.instance.state, loaded.instance.spec.workflow_id) == ("review", "wf_1")
    assert kinds(await verified(place)) == [("SNAPSHOT_DIFFERS", 0, True)]


async def test_a_workflow_that_is_moved_while_it_is_verified_is_consistent(place: Place) -> None:
    loaded = (await place.reviewed()).loaded
    other = place.elsewhere()
    is_over = asyncio.Event()

    async def move() -> None:
        at = loaded
        for number in range(60):
            decided = place.signalled(at, "review", number=number)
            at = (await place.logs.append(at, decided)).loaded
            await asyncio.sleep(0)
        is_over.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(move())
        while not is_over.is_set():
            assert not (await other.verifications.verify(*NAME)).findings

    assert (await verified(place)).last_sequence == 63


async def test_a_snapshot_of_an_event_that_never_was_is_replaced(place: Place) -> None:
    await snapshotted(place)
    kept = await place.store.snapshot(*NAME)
    assert kept is not None
    await place.tampering.snapshot(NAME, 9, kept.body)

    assert kinds(await verified(place)) == [("SNAPSHOT_DIFFERS", 0, True)]
    assert (await verified(place)).findings == []
    assert (await place.elsewhere().logs.load(*NAME)).instance.sequence == 5


async def test_an_event_that_cannot_have_happened_is_named(place: Place) -> None:
    await place.reviewed()
    message = events_pb2.WorkflowEvent.FromString((await place.store.read(*NAME))[1].body)
    message.action.index = 7
    await place.tampering.event(NAME, 2, body=message.SerializeToString())

    found = await verified(place)

    assert ("EVENT_IMPOSSIBLE", 2, False) in kinds(found)
    assert not any(each.is_repaired for each in found.findings)


async def test_commands_on_a_workflow_that_cannot_be_read_fail_with_a_reason(place: Place) -> None:
    await place.reviewed()
    await place.tampering.event(NAME, 2, body=b"\xff\xff")

    with pytest.raises(Internal) as caught:
        await place.elsewhere().logs.load(*NAME)

    assert caught.value.reason == "WORKFLOW_CORRUPT"
    assert caught.value.metadata["sequence"] == "2"
    assert await place.elsewhere().logs.shown(*NAME)


async def test_a_workflow_that_was_given_up_is_taken_up_once_it_is_whole(place: Place) -> None:
    begun = await place.begun()
    good = (await place.store.read(*NAME))[0].body
    (claim,) = await place.store.claim("workflow", "worker_1", limit=9, lease=timedelta(seconds=8))
    await place.tampering.event(NAME, 1, body=b"\xff")
    await place.logs.abandon(claim)
    place.clock.advance(timedelta(days=30))
    assert not await place.store.claim("workflow", "worker_1", limit=9, lease=timedelta(1))

    await place.tampering.event(NAME, 1, body=good)
    await place.elsewhere().verifications.resume(*NAME)

    (claim,) = await place.store.claim("workflow", "worker_1", limit=9, lease=timedelta(1))
    assert claim.stream_id == begun.loaded.instance.spec.workflow_id


async def test_snapshots_written_and_read_are_the_same(place: Place) -> None:
    loaded = (await place.reviewed()).loaded

    read = snapshots.read(snapshots.written(loaded.instance, loaded.head))

    assert (read.instance, read.head) == (loaded.instance, loaded.head)
