"""What every event store promises of shared work: who writes without a claim takes none away."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from services.chassis.errors import Aborted
from services.chassis.eventlog.port import Append, Claim, EventStore, NewEvent, Work

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LEASE = timedelta(seconds=8)
HOUR = timedelta(hours=1)


class Clock(Protocol):
    """What these tests need of the clock."""

    def advance(self, by: timedelta) -> None: ...


def append(expected: int, work: Work | None = None, **more: object) -> Append:
    event = NewEvent("thing.happened.v1", NOW, b"a")
    return Append("acme", "s_1", expected, [event], work=work, **more)  # type: ignore[arg-type]


def shared(owner: str = "", delay: timedelta = timedelta(0)) -> Work:
    return Work("task", owner, LEASE, delay, is_shared=True)


async def held(store: EventStore, owner: str = "one") -> Claim:
    """The claim of a stream that somebody works on."""
    claim = await store.append(append(0, Work("task", owner, LEASE)))
    assert claim
    return claim


async def claimed(store: EventStore, owner: str) -> list[Claim]:
    return list(await store.claim("task", owner, limit=10, lease=LEASE))


@pytest.mark.parametrize("owner", ["", "one", "two"])
async def test_who_has_the_stream_keeps_it_and_is_named(store: EventStore, owner: str) -> None:
    old = await held(store)

    claim = await store.append(append(1, shared(owner)))

    assert claim == old
    assert list(await store.renew("one", lease=LEASE)) == [old]
    assert list(await store.renew("two", lease=LEASE)) == []
    await store.append(append(2, claim=old))


async def test_it_keeps_its_lease_and_no_more(store: EventStore, clock: Clock) -> None:
    await held(store)
    clock.advance(LEASE / 2)
    await store.append(append(1, shared("two")))
    during = await claimed(store, "three")
    clock.advance(LEASE / 2)

    assert during == []
    assert await claimed(store, "three") == [Claim("acme", "s_1", "three", 2)]


async def test_a_stream_that_somebody_keeps_is_due_as_soon_as_that_one_is_gone(
    store: EventStore,
) -> None:
    await store.append(append(0, Work("task", delay=HOUR)))
    claim = await store.take("acme", "s_1", "one", lease=LEASE)
    assert claim
    await store.append(append(1, shared("two", delay=HOUR)))
    await store.release([claim])

    assert await claimed(store, "two") == [Claim("acme", "s_1", "two", 2)]


async def test_a_stream_without_a_worker_goes_to_whom_it_is_put_for(store: EventStore) -> None:
    await store.append(append(0, Work("task", delay=HOUR)))

    claim = await store.append(append(1, shared("two")))

    assert claim == Claim("acme", "s_1", "two", 1)
    assert await claimed(store, "three") == []


async def test_a_stream_can_start_with_shared_work(store: EventStore) -> None:
    claim = await store.append(append(0, shared("two")))

    assert claim == Claim("acme", "s_1", "two", 1)


async def test_a_stream_without_a_worker_waits_for_any_from_when_it_is_due(
    store: EventStore, clock: Clock
) -> None:
    await store.append(append(0, Work("task")))
    claim = await store.append(append(1, shared(delay=HOUR)))
    before = await claimed(store, "one")
    clock.advance(HOUR)

    assert (claim, before) == (None, [])
    assert await claimed(store, "one") == [Claim("acme", "s_1", "one", 1)]


async def test_when_the_lease_has_run_out_it_goes_to_the_other_with_a_new_epoch(
    store: EventStore, clock: Clock
) -> None:
    old = await held(store)
    clock.advance(LEASE)

    claim = await store.append(append(1, shared("two")))

    assert claim == Claim("acme", "s_1", "two", 2)
    with pytest.raises(Aborted) as lost:
        await store.append(append(2, claim=old))
    assert lost.value.reason == "CLAIM_LOST"


async def test_when_the_lease_has_run_out_it_can_wait_for_any(
    store: EventStore, clock: Clock
) -> None:
    await held(store)
    clock.advance(LEASE)

    claim = await store.append(append(1, shared()))

    assert claim is None
    assert list(await store.renew("one", lease=LEASE)) == []
    assert await claimed(store, "two") == [Claim("acme", "s_1", "two", 2)]


@pytest.mark.parametrize("is_held", [True, False])
async def test_with_letters_it_is_due_at_once_whatever_the_delay(
    store: EventStore, clock: Clock, is_held: bool
) -> None:
    await held(store)
    await store.send("acme", "s_1", "cancel", b"")
    if not is_held:
        clock.advance(LEASE)
    claim = await store.append(append(1, shared(delay=HOUR)))
    clock.advance(LEASE if is_held else timedelta(0))

    assert (claim is not None) == is_held
    assert len(await claimed(store, "two")) == 1
    assert len(await store.letters("two")) == 1


async def test_under_a_claim_the_claim_stays(store: EventStore) -> None:
    old = await held(store)

    claim = await store.append(append(1, shared("one"), claim=old))

    assert claim == old
    await store.append(append(2, claim=claim))


async def test_under_a_claim_that_was_lost_nothing_is_shared(
    store: EventStore, clock: Clock
) -> None:
    old = await held(store)
    clock.advance(LEASE)
    (new,) = await claimed(store, "two")

    with pytest.raises(Aborted):
        await store.append(append(1, shared("one"), claim=old))

    assert list(await store.renew("two", lease=LEASE)) == [new]


async def test_a_refused_append_shares_nothing(store: EventStore) -> None:
    await store.append(append(0, Work("task", delay=HOUR)))

    with pytest.raises(Aborted):
        await store.append(append(0, shared("two")))

    assert await claimed(store, "one") == []
    assert list(await store.renew("two", lease=LEASE)) == []


async def test_of_appends_to_one_stream_at_once_the_first_gets_it_and_the_others_hear_who(
    store: EventStore,
) -> None:
    claims = await asyncio.gather(*(store.append(append(n, shared(f"w_{n}"))) for n in range(5)))

    assert claims == [Claim("acme", "s_1", "w_0", 1)] * 5


async def test_work_that_is_not_shared_is_taken_away_as_ever(store: EventStore) -> None:
    await held(store)

    claim = await store.append(append(1, Work("task", "two", LEASE)))

    assert claim == Claim("acme", "s_1", "two", 2)


async def test_of_claimants_and_writers_at_once_one_has_the_stream(store: EventStore) -> None:
    for n in range(20):
        await store.append(Append("acme", f"s_{n}", 0, (), work=Work("task")))

    async def write(n: int) -> Claim | None:
        return await store.append(Append("acme", f"s_{n}", 0, (), work=shared("writer")))

    async with asyncio.timeout(10):
        told, *found = await asyncio.gather(
            asyncio.gather(*(write(n) for n in range(20))),
            *(store.claim("task", f"w_{n}", limit=7, lease=LEASE) for n in range(4)),
        )

    kept = {claim.stream_id: claim for claims in found for claim in claims}
    has = [claim for claim in told if claim]
    assert len(has) == 20
    for claim in has:
        assert claim.owner == "writer" or claim == kept[claim.stream_id]
    assert all(claim.owner != "writer" for claim in has if claim.stream_id in kept)


async def test_it_rings_for_who_keeps_the_stream(store: EventStore) -> None:
    await held(store)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        one, two = (group.create_task(store.rung(owner)) for owner in ("one", "two"))
        expected = 1
        while not one.done():
            await store.append(append(expected, shared("two")))
            expected += 1
            await asyncio.wait((one, two), timeout=0.1)
        is_other_woken = two.done()
        two.cancel()

    assert not is_other_woken
