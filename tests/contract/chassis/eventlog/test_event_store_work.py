"""What every event store promises of claims and letters: one writer for each stream."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from services.chassis.errors import Aborted, ResourceExhausted
from services.chassis.eventlog.port import Append, Claim, EventStore, NewEvent, Work

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LEASE = timedelta(seconds=8)


class Clock(Protocol):
    """What these tests need of the clock."""

    def advance(self, by: timedelta) -> None: ...


def append(expected: int, *bodies: bytes, stream: str = "s_1", **more: object) -> Append:
    events = [NewEvent("thing.happened.v1", NOW, body) for body in bodies]
    return Append("acme", stream, expected, events, **more)  # type: ignore[arg-type]


def wanting(stream: str = "s_1", delay: timedelta = timedelta(0)) -> Append:
    """The start of a stream that wants any worker."""
    return append(0, b"a", stream=stream, work=Work("task", delay=delay))


def owned(owner: str, stream: str = "s_1") -> Append:
    """The start of a stream that has a worker."""
    return append(0, b"a", stream=stream, work=Work("task", owner, LEASE))


async def claimed(store: EventStore, owner: str, limit: int = 10) -> list[Claim]:
    return list(await store.claim("task", owner, limit=limit, lease=LEASE))


async def test_work_can_start_with_its_owner(store: EventStore) -> None:
    claim = await store.append(owned("one"))

    assert claim == Claim("acme", "s_1", "one", 1)
    assert await claimed(store, "two") == []


async def test_work_without_an_owner_is_claimed_by_one(store: EventStore) -> None:
    unclaimed = await store.append(wanting())

    first, second = await claimed(store, "one"), await claimed(store, "two")

    assert unclaimed is None
    assert first == [Claim("acme", "s_1", "one", 1)]
    assert second == []


async def test_those_that_wait_longest_are_claimed_first_and_no_more_than_asked(
    store: EventStore, clock: Clock
) -> None:
    for n in range(3):
        await store.append(wanting(f"s_{n}"))
        clock.advance(timedelta(seconds=1))

    claims = await claimed(store, "one", limit=2)

    assert [claim.stream_id for claim in claims] == ["s_0", "s_1"]


async def test_work_of_another_kind_is_left_alone(store: EventStore) -> None:
    await store.append(wanting())

    assert list(await store.claim("workflow", "one", limit=10, lease=LEASE)) == []


async def test_a_claim_that_is_not_renewed_goes_to_another(store: EventStore, clock: Clock) -> None:
    await store.append(owned("one"))
    clock.advance(LEASE)

    assert await claimed(store, "two") == [Claim("acme", "s_1", "two", 2)]


async def test_a_renewed_claim_stays(store: EventStore, clock: Clock) -> None:
    await store.append(owned("one"))
    clock.advance(LEASE / 2)
    renewed = await store.renew("one", lease=LEASE)
    clock.advance(LEASE / 2)

    assert list(renewed) == [Claim("acme", "s_1", "one", 1)]
    assert await claimed(store, "two") == []


async def test_renewing_says_what_was_lost(store: EventStore, clock: Clock) -> None:
    await store.append(owned("one", "s_1"))
    await store.append(owned("one", "s_2"))
    clock.advance(LEASE)
    await claimed(store, "two", limit=1)

    renewed = await store.renew("one", lease=LEASE)

    assert len(renewed) == 1


async def test_who_lost_its_claim_writes_nothing_more(store: EventStore, clock: Clock) -> None:
    old = await store.append(owned("one"))
    clock.advance(LEASE)
    (new,) = await claimed(store, "two")

    with pytest.raises(Aborted) as caught:
        await store.append(append(1, b"old", claim=old))
    await store.append(append(1, b"new", claim=new))

    assert caught.value.reason == "CLAIM_LOST"
    assert [event.body for event in await store.read("acme", "s_1")] == [b"a", b"new"]


async def test_a_lost_claim_cannot_end_the_work_either(store: EventStore, clock: Clock) -> None:
    old = await store.append(owned("one"))
    clock.advance(LEASE)
    await claimed(store, "two")

    with pytest.raises(Aborted):
        await store.append(append(1, b"old", claim=old, is_done=True))

    assert len(await store.renew("two", lease=LEASE)) == 1


async def test_a_lease_that_ran_out_and_was_not_taken_is_still_good(
    store: EventStore, clock: Clock
) -> None:
    claim = await store.append(owned("one"))
    clock.advance(LEASE * 2)

    await store.append(append(1, b"b", claim=claim))

    assert len(await store.read("acme", "s_1")) == 2


async def test_of_many_claimants_each_stream_goes_to_one(store: EventStore) -> None:
    for n in range(20):
        await store.append(wanting(f"s_{n}"))

    found = await asyncio.gather(*(claimed(store, f"w_{n}", limit=7) for n in range(8)))

    taken = [claim.stream_id for claims in found for claim in claims]
    assert sorted(taken) == sorted(f"s_{n}" for n in range(20))


async def test_work_that_is_done_is_claimed_no_more(store: EventStore, clock: Clock) -> None:
    claim = await store.append(owned("one"))
    await store.append(append(1, b"end", claim=claim, is_done=True))
    clock.advance(LEASE * 2)

    assert await claimed(store, "two") == []
    assert list(await store.renew("one", lease=LEASE)) == []
    with pytest.raises(Aborted):
        await store.append(append(2, b"more", claim=claim))


async def test_released_work_is_anybodys_at_once(store: EventStore) -> None:
    claim = await store.append(owned("one"))
    assert claim
    await store.release([claim])

    assert await claimed(store, "two") == [Claim("acme", "s_1", "two", 2)]


async def test_a_release_that_comes_too_late_changes_nothing(
    store: EventStore, clock: Clock
) -> None:
    old = await store.append(owned("one"))
    assert old
    clock.advance(LEASE)
    await claimed(store, "two")

    await store.release([old])

    assert await claimed(store, "three") == []


async def test_parked_work_is_taken_up_when_it_is_due(store: EventStore, clock: Clock) -> None:
    claim = await store.append(owned("one"))
    parked = Work("task", delay=timedelta(minutes=5))
    await store.append(append(1, b"wait", claim=claim, work=parked))
    before = await claimed(store, "two")
    clock.advance(timedelta(minutes=5))

    assert before == []
    assert await claimed(store, "two") == [Claim("acme", "s_1", "two", 2)]


async def test_one_stream_can_be_taken_up_though_it_is_not_due(
    store: EventStore, clock: Clock
) -> None:
    await store.append(wanting(delay=timedelta(hours=1)))

    taken = await store.take("acme", "s_1", "one", lease=LEASE)
    again = await store.take("acme", "s_1", "two", lease=LEASE)
    clock.advance(LEASE)
    later = await store.take("acme", "s_1", "two", lease=LEASE)

    assert (taken, again) == (Claim("acme", "s_1", "one", 1), None)
    assert later == Claim("acme", "s_1", "two", 2)
    assert await store.take("acme", "s_none", "two", lease=LEASE) is None


async def test_a_letter_wakes_parked_work(store: EventStore) -> None:
    await store.append(wanting(delay=timedelta(hours=1)))

    owner = await store.send("acme", "s_1", "approve", b"yes")
    (claim,) = await claimed(store, "one")
    (letter,) = await store.letters("one")

    assert owner == ""
    assert claim.epoch == 1
    assert (letter.stream_id, letter.kind, letter.body) == ("s_1", "approve", b"yes")


async def test_work_with_letters_cannot_be_parked(store: EventStore) -> None:
    claim = await store.append(owned("one"))
    await store.send("acme", "s_1", "cancel", b"")
    parked = Work("task", delay=timedelta(hours=1))
    await store.append(append(1, b"wait", claim=claim, work=parked))

    assert len(await claimed(store, "two")) == 1


async def test_an_inbox_is_full_at_some_point_but_not_for_who_may_put_more(
    store: EventStore,
) -> None:
    claim = await store.append(owned("one"))
    for _ in range(2):
        await store.send("acme", "s_1", "say", b"", most=2)

    with pytest.raises(ResourceExhausted) as full:
        await store.send("acme", "s_1", "say", b"", most=2)
    await store.send("acme", "s_1", "cancel", b"", most=3)

    assert (full.value.reason, full.value.retry_after is not None) == ("INBOX_FULL", True)
    letters = await store.letters("one")
    assert [letter.kind for letter in letters] == ["say", "say", "cancel"]
    assert claim is not None


async def test_letters_can_be_read_of_one_stream_and_without_those_that_are_known(
    store: EventStore,
) -> None:
    for stream in ("s_1", "s_2"):
        await store.append(owned("one", stream))
        for _ in range(2):
            await store.send("acme", stream, "say", stream.encode())
    first, *rest = await store.letters("one")

    of_one = await store.letters("one", stream_id="s_2")
    unknown = await store.letters("one", known=[first.number])
    neither = await store.letters("one", stream_id="s_1", known=[n.number for n in rest])

    assert [letter.stream_id for letter in of_one] == ["s_2", "s_2"]
    assert unknown == rest
    assert neither == [first]


async def test_a_letter_says_whom_to_wake(store: EventStore, clock: Clock) -> None:
    await store.append(owned("one"))
    held = await store.send("acme", "s_1", "cancel", b"")
    clock.advance(LEASE)
    lapsed = await store.send("acme", "s_1", "cancel", b"")

    assert (held, lapsed) == ("one", "")


async def test_a_letter_rings_for_the_owner_that_waits(store: EventStore) -> None:
    await store.append(owned("one"))
    await store.append(owned("two", "s_2"))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        one, two = (group.create_task(store.rung(owner)) for owner in ("one", "two"))
        while not one.done():
            await store.send("acme", "s_1", "cancel", b"")
            await asyncio.wait((one, two), timeout=0.1)
        is_other_woken = two.done()
        two.cancel()

    assert not is_other_woken


async def test_a_stream_that_wants_no_worker_takes_no_letters(store: EventStore) -> None:
    claim = await store.append(owned("one"))
    await store.append(append(1, b"end", claim=claim, is_done=True))

    assert await store.send("acme", "s_1", "cancel", b"") is None
    assert await store.send("acme", "s_none", "cancel", b"") is None
    assert await store.send("other", "s_1", "cancel", b"") is None


async def test_letters_come_in_order_until_they_are_answered(store: EventStore) -> None:
    claim = await store.append(owned("one"))
    await store.append(owned("two", "s_2"))
    for body in (b"1", b"2", b"3"):
        await store.send("acme", "s_1", "say", body)
    await store.send("acme", "s_2", "say", b"other")
    before = await store.letters("one")
    answered = [letter.number for letter in before[:2]]
    await store.append(append(1, b"b", claim=claim, answered=answered))

    assert [letter.body for letter in before] == [b"1", b"2", b"3"]
    assert [letter.body for letter in await store.letters("one")] == [b"3"]


async def test_letters_go_with_the_work_to_whom_takes_it_over(
    store: EventStore, clock: Clock
) -> None:
    await store.append(owned("one"))
    await store.send("acme", "s_1", "say", b"hello")
    clock.advance(LEASE)
    await claimed(store, "two")

    assert list(await store.letters("one")) == []
    assert [letter.body for letter in await store.letters("two")] == [b"hello"]


async def test_letters_end_with_the_work(store: EventStore) -> None:
    claim = await store.append(owned("one"))
    await store.send("acme", "s_1", "say", b"too late")
    await store.append(append(1, b"end", claim=claim, is_done=True))
    await store.append(append(2, b"again", work=Work("task", "one", LEASE)))

    assert list(await store.letters("one")) == []


async def test_what_waits_is_counted(store: EventStore) -> None:
    await store.append(wanting("s_1"))
    await store.append(wanting("s_2"))
    await store.append(wanting("s_3", delay=timedelta(hours=1)))
    await store.append(owned("one", "s_4"))

    assert await store.waiting("task") == 2
