"""What every event store promises of timers, and of streams that are nothing but a claim."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from services.chassis.errors import Aborted
from services.chassis.eventlog.port import Append, Claim, EventStore, NewEvent, Work

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LEASE = timedelta(seconds=8)
HOUR = timedelta(hours=1)
FAR = timedelta(days=365)
TICK = timedelta(microseconds=1)


class Clock(Protocol):
    """What these tests need of the clock."""

    def advance(self, by: timedelta) -> None: ...


def turn(stream: str = "s_1", work: Work | None = None, **more: object) -> Append:
    """An append to a stream that is nothing but a claim."""
    return Append("acme", stream, 0, (), work=work, **more)  # type: ignore[arg-type]


async def waits(store: EventStore, stream: str, delay: timedelta, kind: str = "task") -> None:
    await store.append(turn(stream, Work(kind, delay=delay)))


async def claimed(store: EventStore, owner: str, limit: int = 10) -> list[Claim]:
    return list(await store.claim("task", owner, limit=limit, lease=LEASE))


async def test_a_stream_can_be_nothing_but_a_claim(store: EventStore, clock: Clock) -> None:
    first = await store.append(turn(work=Work("task", "one", LEASE)))
    assert first
    busy = await store.take("acme", "s_1", "two", lease=LEASE)
    renewed = await store.renew("one", lease=LEASE)
    await store.release([first])
    taken = await store.take("acme", "s_1", "two", lease=LEASE)
    clock.advance(LEASE)

    assert first == Claim("acme", "s_1", "one", 1)
    assert (busy, list(renewed)) == (None, [first])
    assert taken == Claim("acme", "s_1", "two", 2)
    assert await claimed(store, "three") == [Claim("acme", "s_1", "three", 3)]
    assert list(await store.read("acme", "s_1")) == []


async def test_a_turn_is_put_off_and_ended_under_its_claim(store: EventStore, clock: Clock) -> None:
    claim = await store.append(turn(work=Work("task", "one", LEASE)))
    await store.append(turn(work=Work("task", delay=HOUR), claim=claim))
    with pytest.raises(Aborted) as late:
        await store.append(turn(work=Work("task", delay=HOUR), claim=claim))
    clock.advance(HOUR)
    (again,) = await claimed(store, "two")
    await store.append(turn(claim=again, is_done=True))
    clock.advance(LEASE)

    assert late.value.reason == "CLAIM_LOST"
    assert await claimed(store, "three") == []
    assert await store.take("acme", "s_1", "three", lease=LEASE) is None


async def test_a_turn_is_started_once_however_many_start_it(store: EventStore) -> None:
    claims = await asyncio.gather(
        *(store.append(turn(work=Work("task", f"w_{n}", LEASE, is_shared=True))) for n in range(10))
    )

    (claim,) = set(claims)
    assert claim
    assert claim.epoch == 1
    assert list(await store.renew(claim.owner, lease=LEASE)) == [claim]


async def test_a_turn_takes_letters(store: EventStore) -> None:
    await store.append(turn(work=Work("task", "one", LEASE)))

    owner = await store.send("acme", "s_1", "say", b"hello")

    assert owner == "one"
    assert [letter.body for letter in await store.letters("one")] == [b"hello"]


async def test_a_stream_that_was_a_claim_first_can_get_events(store: EventStore) -> None:
    claim = await store.append(turn(work=Work("task", "one", LEASE)))
    event = NewEvent("thing.happened.v1", NOW, b"a")
    await store.append(Append("acme", "s_1", 0, [event], claim=claim))

    assert [each.sequence for each in await store.read("acme", "s_1")] == [1]
    with pytest.raises(Aborted):
        await store.append(turn(work=Work("task"), claim=claim))


async def test_timers_are_found_when_they_are_due_and_not_before_in_their_order(
    store: EventStore, clock: Clock
) -> None:
    for n in (3, 1, 2):
        await waits(store, f"s_{n}", n * HOUR)
    clock.advance(HOUR - TICK)
    before = await claimed(store, "one")
    clock.advance(TICK)
    (first,) = await claimed(store, "two")
    await store.append(turn("s_1", claim=first, is_done=True))
    clock.advance(2 * HOUR)

    assert before == []
    assert first.stream_id == "s_1"
    assert [claim.stream_id for claim in await claimed(store, "one")] == ["s_2", "s_3"]


async def test_a_timer_is_found_among_ten_thousand_that_wait_far_away(
    store: EventStore, clock: Clock
) -> None:
    for start in range(0, 10_000, 1_000):
        await asyncio.gather(*(waits(store, f"far_{start + n}", FAR) for n in range(1_000)))
    await waits(store, "s_2", HOUR)
    await waits(store, "s_1", HOUR / 2)
    early = await store.due_in("task")
    clock.advance(HOUR)

    assert early == HOUR / 2
    assert [claim.stream_id for claim in await claimed(store, "one")] == ["s_1", "s_2"]
    assert await store.due_in("task") == FAR - HOUR
    assert await store.waiting("task") == 0


async def test_a_worker_can_sleep_until_the_next_is_due(store: EventStore, clock: Clock) -> None:
    nothing = await store.due_in("task")
    await waits(store, "s_1", HOUR)
    await waits(store, "s_2", HOUR * 2)
    await waits(store, "s_3", TICK, kind="other")
    first = await store.due_in("task")
    clock.advance(HOUR - TICK)
    almost = await store.due_in("task")
    clock.advance(TICK)
    now = await store.due_in("task")
    clock.advance(TICK)
    late = await store.due_in("task")

    assert nothing is None
    assert (first, almost) == (HOUR, TICK)
    assert now == late == timedelta(0)


async def test_what_somebody_works_on_is_due_to_nobody(store: EventStore, clock: Clock) -> None:
    await store.append(turn("s_1", Work("task", "one", LEASE)))
    held = await store.due_in("task")
    await waits(store, "s_2", HOUR)
    beside = await store.due_in("task")
    clock.advance(LEASE)
    lapsed = await store.due_in("task")

    assert (held, beside, lapsed) == (None, HOUR, timedelta(0))


async def test_a_letter_makes_its_stream_due(store: EventStore) -> None:
    await waits(store, "s_1", HOUR)
    await store.send("acme", "s_1", "say", b"")

    assert await store.due_in("task") == timedelta(0)
