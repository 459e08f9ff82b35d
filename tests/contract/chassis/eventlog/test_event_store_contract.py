"""What every event store promises."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.chassis.errors import Aborted, InvalidArgument
from services.chassis.eventlog.port import (
    Append,
    EventStore,
    NewEvent,
    Record,
    Snapshot,
    StoredEvent,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def events(*bodies: bytes) -> list[NewEvent]:
    return [NewEvent("thing.happened.v1", NOW, body) for body in bodies]


def append(expected: int, *bodies: bytes, tenant: str = "acme", stream: str = "s_1") -> Append:
    return Append(tenant, stream, expected, events(*bodies))


def bodies(found: Sequence[StoredEvent]) -> list[bytes]:
    return [event.body for event in found]


async def test_what_was_appended_is_read_back_as_it_was(store: EventStore) -> None:
    body = bytes(range(256))
    await store.append(Append("acme", "s_1", 0, [NewEvent("thing.happened.v1", NOW, body)]))

    (event,) = await store.read("acme", "s_1")

    assert event == StoredEvent("acme", "s_1", 1, event.position, "thing.happened.v1", NOW, body)
    assert event.id == "s_1/1"


async def test_the_instant_of_an_event_is_kept_whatever_its_time_zone(store: EventStore) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await store.append(Append("acme", "s_1", 0, [NewEvent("thing.happened.v1", there, b"")]))

    (event,) = await store.read("acme", "s_1")

    assert event.time == NOW
    assert event.time.tzinfo is not None


async def test_sequences_have_no_gaps_across_appends(store: EventStore) -> None:
    await store.append(append(0, b"a", b"b"))
    await store.append(append(2, b"c"))

    found = await store.read("acme", "s_1")

    assert [event.sequence for event in found] == [1, 2, 3]
    assert bodies(found) == [b"a", b"b", b"c"]


async def test_an_unknown_stream_reads_as_empty(store: EventStore) -> None:
    assert list(await store.read("acme", "s_none")) == []
    assert await store.snapshot("acme", "s_none") is None


async def test_reading_starts_after_a_sequence_and_ends_at_the_limit(store: EventStore) -> None:
    await store.append(append(0, *(b"%d" % n for n in range(1, 11))))

    assert bodies(await store.read("acme", "s_1", after=3, limit=2)) == [b"4", b"5"]
    assert bodies(await store.read("acme", "s_1", after=9, limit=100)) == [b"10"]
    assert list(await store.read("acme", "s_1", after=10)) == []
    assert list(await store.read("acme", "s_1", after=99)) == []


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_an_append_that_expects_another_end_is_refused(
    store: EventStore, expected: int
) -> None:
    await store.append(append(0, b"a", b"b"))

    with pytest.raises(Aborted) as caught:
        await store.append(append(expected, b"c", b"d"))

    assert caught.value.reason == "SEQUENCE_CONFLICT"
    assert bodies(await store.read("acme", "s_1")) == [b"a", b"b"]
    assert bodies(await store.read_all()) == [b"a", b"b"]


async def test_a_stream_cannot_start_in_the_middle(store: EventStore) -> None:
    with pytest.raises(Aborted) as caught:
        await store.append(append(5, b"a"))

    assert caught.value.reason == "SEQUENCE_CONFLICT"
    assert list(await store.read("acme", "s_1")) == []


async def test_a_refused_append_leaves_the_snapshot_alone(store: EventStore) -> None:
    await store.append(Append("acme", "s_1", 0, events(b"a"), snapshot=b"one"))

    with pytest.raises(Aborted):
        await store.append(Append("acme", "s_1", 0, events(b"b"), snapshot=b"two"))

    assert await store.snapshot("acme", "s_1") == Snapshot(1, b"one")


async def test_of_racing_appends_exactly_one_wins(store: EventStore) -> None:
    results = await asyncio.gather(
        *(store.append(append(0, b"%d" % n, b"%d" % n)) for n in range(20)),
        return_exceptions=True,
    )

    found = bodies(await store.read("acme", "s_1"))
    assert sorted(type(each).__name__ for each in results) == ["Aborted"] * 19 + ["NoneType"]
    assert len(found) == 2
    assert len(set(found)) == 1


async def test_an_append_of_nothing_adds_nothing(store: EventStore) -> None:
    await store.append(append(0))

    assert list(await store.read("acme", "s_1")) == []
    assert list(await store.read_all()) == []


async def test_the_newest_snapshot_is_kept_with_its_sequence(store: EventStore) -> None:
    await store.append(Append("acme", "s_1", 0, events(b"a", b"b"), snapshot=b"two"))
    await store.append(append(2, b"c"))
    before = await store.snapshot("acme", "s_1")
    await store.append(Append("acme", "s_1", 3, events(b"d"), snapshot=b"four"))

    assert before == Snapshot(2, b"two")
    assert await store.snapshot("acme", "s_1") == Snapshot(4, b"four")


async def test_tenants_do_not_see_each_other(store: EventStore) -> None:
    await store.append(Append("acme", "s_1", 0, events(b"ours"), snapshot=b"ours"))
    await store.append(append(0, b"theirs", tenant="other"))

    assert bodies(await store.read("acme", "s_1")) == [b"ours"]
    assert bodies(await store.read("other", "s_1")) == [b"theirs"]
    assert await store.snapshot("other", "s_1") is None
    assert list(await store.read("third", "s_1")) == []


async def test_reading_all_gives_every_tenants_events_in_the_order_of_commits(
    store: EventStore,
) -> None:
    await store.append(append(0, b"a", stream="s_1"))
    await store.append(append(0, b"b", b"c", stream="s_2", tenant="other"))
    await store.append(append(1, b"d", stream="s_1"))

    found = await store.read_all()

    positions = [event.position for event in found]
    assert bodies(found) == [b"a", b"b", b"c", b"d"]
    assert positions == sorted(set(positions))
    assert positions[0] > 0


async def test_reading_all_by_pages_meets_each_event_once(store: EventStore) -> None:
    for n in range(10):
        await store.append(append(0, b"%d" % n, stream=f"s_{n}"))

    met: list[bytes] = []
    after = 0
    while page := await store.read_all(after=after, limit=3):
        assert len(page) <= 3
        met += bodies(page)
        after = page[-1].position

    assert met == [b"%d" % n for n in range(10)]


async def test_many_writers_at_once_leave_no_gap(store: EventStore) -> None:
    async def write(stream: str) -> None:
        for n in range(20):
            await store.append(append(n, b"%d" % n, stream=stream))

    await asyncio.gather(*(write(f"s_{n}") for n in range(25)))

    everything = await store.read_all(limit=1000)
    assert len({event.position for event in everything}) == 500
    for n in range(25):
        assert bodies(await store.read("acme", f"s_{n}")) == [b"%d" % n for n in range(20)]


async def test_a_follower_that_reads_while_others_write_never_skips_an_event(
    store: EventStore,
) -> None:
    async def write(stream: str) -> None:
        for n in range(20):
            await store.append(append(n, b"", stream=stream))
            await asyncio.sleep(0)

    async def follow() -> list[str]:
        met: list[str] = []
        after = 0
        while len(met) < 200:
            page = await store.read_all(after=after, limit=7)
            met += [event.id for event in page]
            after = page[-1].position if page else after
            await asyncio.sleep(0)
        return met

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        for n in range(10):
            group.create_task(write(f"s_{n}"))

    assert sorted(following.result()) == sorted(
        f"s_{n}/{i}" for n in range(10) for i in range(1, 21)
    )


async def test_contenders_for_one_stream_all_get_through_by_reading_again(
    store: EventStore,
) -> None:
    async def add(name: bytes) -> None:
        while True:
            end = len(await store.read("acme", "s_1"))
            try:
                return await store.append(append(end, name))
            except Aborted:
                await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await asyncio.gather(*(add(b"%d" % n) for n in range(20)))

    assert sorted(bodies(await store.read("acme", "s_1"))) == sorted(b"%d" % n for n in range(20))


async def test_a_text_that_cannot_be_kept_harms_nothing_beside_it(store: EventStore) -> None:
    odd = [Record("thing", "t_1", {"labels.a\0b": "c\0d"}, b"")]
    bad = Append("acme", "s_odd", 0, events(b"a"), records=odd)

    kept, *others = await asyncio.gather(
        store.append(bad),
        *(store.append(append(0, b"a", stream=f"s_{number}")) for number in range(20)),
        return_exceptions=True,
    )

    assert others == [None] * 20
    assert kept is None or isinstance(kept, InvalidArgument)
    assert len(await store.read("acme", "s_odd")) == (1 if kept is None else 0)


async def test_an_odd_name_is_not_taken_for_a_store_that_is_away(store: EventStore) -> None:
    (found,) = await asyncio.gather(store.kept("acme", "thing", "a\0b"), return_exceptions=True)

    assert found is None or isinstance(found, InvalidArgument)
