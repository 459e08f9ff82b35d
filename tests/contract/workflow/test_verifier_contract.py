"""How the verifier goes over the workflows of a store."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest
from runplane.workflow.v1 import workflow_pb2

from services.workflow.adapters.turns import EventStoreTurn
from services.workflow.domain.verification import Fault
from services.workflow.mapping.workflows import RECORD
from services.workflow.verifier import Pace, Verifier
from tests.contract.workflow.conftest import Place

LEASE = timedelta(seconds=100)
FULL = timedelta(hours=24)


def verifier(place: Place, name: str = "verifier_1", *, most: int = 100) -> Verifier:
    turn = EventStoreTurn(place.store, "verify", owner=name, lease=LEASE)
    pace = Pace(timedelta(seconds=30), most, FULL)
    other = place.elsewhere()
    return Verifier(turn, other.histories, other.verifications, pace, now=place.clock.monotonic)


async def three(place: Place) -> Sequence[tuple[str, str]]:
    """Workflows of two tenants."""
    names = [("acme", "wf_1"), ("acme", "wf_2"), ("best", "wf_1")]
    for tenant, workflow_id in names:
        await place.reviewed(workflow_id, tenant=tenant)
    return names


async def shown_wrong(place: Place, name: tuple[str, str]) -> None:
    wrong = workflow_pb2.Workflow.FromString(await place.logs.shown(*name))
    wrong.current_state = "secret"
    await place.tampering.record(name, RECORD, wrong.SerializeToString())


async def test_workflows_of_all_tenants_are_verified(place: Place) -> None:
    names = await three(place)
    for name in names:
        await shown_wrong(place, name)
    verifying = verifier(place)

    await verifying.look()

    assert (verifying.counts.verified, verifying.counts.walks) == (3, 1)
    assert verifying.counts.repaired == {Fault.PROJECTION_DIFFERS: 3}
    for name in names:
        shown = workflow_pb2.Workflow.FromString(await place.logs.shown(*name))
        assert (shown.current_state, shown.last_sequence) == ("review", 4)


async def test_what_is_as_it_was_is_not_read_again(place: Place) -> None:
    await three(place)
    verifying = verifier(place)
    await verifying.look()

    await verifying.look()
    assert (verifying.counts.verified, verifying.counts.walks) == (3, 2)
    loaded = await place.logs.load("acme", "wf_1")
    await place.logs.append(loaded, place.signalled(loaded, "done"))
    await verifying.look()

    assert (verifying.counts.verified, verifying.counts.walks) == (4, 3)


async def test_a_projection_that_is_changed_later_is_found_at_the_next_look(place: Place) -> None:
    names = await three(place)
    verifying = verifier(place)
    await verifying.look()
    await shown_wrong(place, names[1])

    await verifying.look()

    assert verifying.counts.repaired == {Fault.PROJECTION_DIFFERS: 1}


async def test_an_event_that_is_changed_later_is_found_by_a_full_walk(place: Place) -> None:
    names = await three(place)
    verifying = verifier(place)
    await verifying.look()
    await place.tampering.event(names[0], 2, time=place.clock() + timedelta(hours=1))
    await verifying.look()
    assert verifying.counts.broken == 0
    place.clock.advance(FULL)

    await verifying.look()
    await verifying.look()

    assert (verifying.counts.broken, verifying.counts.verified) == (1, 6)


async def test_a_workflow_that_is_not_shown_at_all_is_found_by_a_full_walk(place: Place) -> None:
    names = await three(place)
    await place.tampering.lose_record(names[1], RECORD)
    verifying = verifier(place)

    await verifying.look()
    await verifying.look()

    assert verifying.counts.repaired == {Fault.PROJECTION_MISSING: 1}
    assert await place.logs.shown(*names[1])


async def test_each_look_goes_on_where_the_one_before_stopped(place: Place) -> None:
    await three(place)
    verifying = verifier(place, most=1)
    counts = []

    for _ in range(3):
        await verifying.look()
        counts.append((verifying.counts.verified, verifying.counts.walks))

    assert counts == [(1, 0), (2, 0), (3, 1)]


async def test_one_process_at_a_time_verifies(place: Place) -> None:
    await three(place)
    one, other = verifier(place), verifier(place, "verifier_2")

    await one.look()
    await other.look()
    assert (one.counts.walks, other.counts.walks) == (1, 0)
    await one.stop()
    await other.look()

    assert other.counts.walks == 1


async def test_another_process_goes_on_when_one_is_lost(place: Place) -> None:
    await three(place)
    one, other = verifier(place), verifier(place, "verifier_2")
    await one.look()
    place.clock.advance(LEASE + timedelta(seconds=1))

    await other.look()
    await one.look()

    assert (one.counts.walks, other.counts.walks) == (1, 1)


async def test_what_is_broken_is_told_without_its_data_and_does_not_stop_the_rest(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    names = await three(place)
    await place.tampering.event(names[0], 2, body=b"\xffsecret")
    await shown_wrong(place, names[2])
    verifying = verifier(place)

    with caplog.at_level(logging.INFO):
        await verifying.look()

    told = [each for each in caplog.records if each.name == "services.workflow.verifier"]
    assert [(each.__dict__["workflow_id"], each.__dict__["kind"]) for each in told] == [
        ("wf_1", "EVENT_UNREADABLE"),
        ("wf_1", "EVENT_CHANGED"),
        ("wf_1", "PROJECTION_DIFFERS"),
    ]
    assert not any("secret" in str(each.__dict__) for each in told)
    assert (verifying.counts.verified, verifying.counts.broken) == (3, 1)


async def test_a_workflow_that_was_given_up_goes_on_when_its_events_are_restored(
    place: Place,
) -> None:
    name = ("acme", "wf_1")
    await place.begun()
    good = (await place.store.read(*name))[0].body
    (claim,) = await place.store.claim("workflow", "worker_1", limit=9, lease=LEASE)
    await place.tampering.event(name, 1, body=b"\xff")
    await place.logs.abandon(claim)
    await verifier(place).look()
    assert not await place.store.claim("workflow", "worker_1", limit=9, lease=LEASE)
    await place.tampering.event(name, 1, body=good)
    verifying = verifier(place)  # As after a restart, with nothing in memory.

    await verifying.look()

    assert verifying.counts.broken == 0
    assert len(await place.store.claim("workflow", "worker_1", limit=9, lease=LEASE)) == 1


async def test_one_that_seems_unchanged_goes_on_too_when_its_events_are_restored(
    place: Place,
) -> None:
    name = ("acme", "wf_1")
    await place.begun()
    verifying = verifier(place)
    await verifying.look()
    good = (await place.store.read(*name))[0].body
    (claim,) = await place.store.claim("workflow", "worker_1", limit=9, lease=LEASE)
    await place.tampering.event(name, 1, body=b"\xff")
    await place.logs.abandon(claim)
    await place.tampering.event(name, 1, body=good)

    await verifying.look()

    assert len(await place.store.claim("workflow", "worker_1", limit=9, lease=LEASE)) == 1
    assert await place.histories.abandoned() == []
