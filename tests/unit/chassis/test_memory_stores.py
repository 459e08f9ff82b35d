"""What the in-process stores promise beyond their ports: bounds."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import Message
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, NewEvent, Record
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.hotstore.open import hot_store
from services.chassis.hotstore.port import Entry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def append(stream: str, expected: int = 0, size_bytes: int = 1_000) -> Append:
    return Append("acme", stream, expected, [NewEvent("a.v1", NOW, b"x" * size_bytes)])


async def test_a_full_event_store_drops_whole_streams_that_were_not_appended_to_for_longest() -> (
    None
):
    store = MemoryEventStore(max_bytes=4_000)
    await store.append(append("s_1"))
    await store.append(append("s_2"))
    await store.append(append("s_1", expected=1))
    await store.append(append("s_3"))

    assert not await store.read("acme", "s_2")
    assert [event.id for event in await store.read_all()] == ["s_1/1", "s_1/2", "s_3/1"]
    assert len(await store.read("acme", "s_1")) == 2


async def test_a_full_event_store_keeps_reading_all_right_through_many_drops() -> None:
    store = MemoryEventStore(max_bytes=20_000)
    for n in range(200):
        await store.append(append(f"s_{n}"))
        await store.append(
            append("s_long", expected=n, size_bytes=1) if n < 20 else append(f"x{n}")
        )
    found = await store.read_all()

    positions = [event.position for event in found]
    assert positions == sorted(set(positions))
    assert [event.id for event in await store.read_all(after=positions[3], limit=2)] == [
        event.id for event in found[4:6]
    ]
    for event in found:
        assert event in await store.read("acme", event.stream_id)


async def test_a_dropped_streams_snapshot_goes_with_it() -> None:
    store = MemoryEventStore(max_bytes=2_000)
    await store.append(
        Append("acme", "s_1", 0, [NewEvent("a.v1", NOW, b"")], snapshot=b"x" * 1_000)
    )
    await store.append(append("s_2"))

    assert await store.snapshot("acme", "s_1") is None


async def test_a_dropped_streams_records_go_with_it() -> None:
    store = MemoryEventStore(max_bytes=2_000)
    shown = Record("task", "s_1", {}, b"shown")
    await store.append(
        Append("acme", "s_1", 0, [NewEvent("a.v1", NOW, b"x" * 1_500)], records=[shown])
    )
    await store.append(append("s_2"))

    assert await store.record("acme", "task", "s_1") is None


async def test_one_stream_too_large_for_memory_is_refused_and_nothing_is_dropped_for_it() -> None:
    store = MemoryEventStore(max_bytes=4_000)
    await store.append(append("s_1"))

    with pytest.raises(ResourceExhausted) as caught:
        await store.append(append("s_2", size_bytes=5_000))

    assert caught.value.reason == "EVENT_STORE_FULL"
    assert await store.read("acme", "s_1")
    assert not await store.read("acme", "s_2")


async def test_a_full_hot_store_forgets_what_was_not_used_for_longest() -> None:
    store = MemoryHotStore(max_bytes=3_000)
    await store.set("a", b"x" * 900, ttl=MINUTE)
    await store.set("b", b"x" * 900, ttl=MINUTE)
    await store.get("a")
    await store.set("c", b"x" * 900, ttl=MINUTE)

    assert await store.get("a")
    assert await store.get("b") is None
    assert await store.get("c")


async def test_a_value_larger_than_the_hot_store_is_forgotten_at_once() -> None:
    store = MemoryHotStore(max_bytes=1_000)
    await store.set("a", b"x" * 2_000, ttl=MINUTE)

    assert await store.get("a") is None


async def test_topics_vanish_with_their_last_subscriber() -> None:
    store = MemoryHotStore()
    async with store.subscribe("t"):
        async with store.subscribe("t"):
            pass
        assert store._topics
    await store.publish("t", [Entry(1, b"")])

    assert not store._topics


async def test_a_slow_subscriber_keeps_the_newest_256_entries() -> None:
    store = MemoryHotStore()
    async with store.subscribe("t") as subscription:
        await store.publish("t", [Entry(n, b"") for n in range(1_000)])

        assert [entry.sequence for entry in await subscription.next()] == list(range(744, 1_000))


async def test_a_full_topic_refuses_all_and_says_when_to_come_again() -> None:
    bus = MemoryEventBus(max_backlog=3)
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([Message("t", "k", b"1"), Message("t", "k", b"2")])
        with pytest.raises(ResourceExhausted) as caught:
            await bus.publish([Message("t", "k", b"3"), Message("t", "k", b"4")])
        met = await consumer.next()

    assert caught.value.reason == "EVENT_BUS_FULL"
    assert caught.value.retry_after is not None
    assert [each.value for each in met] == [b"1", b"2"]


async def test_a_topic_stays_full_until_its_group_commits() -> None:
    bus = MemoryEventBus(max_backlog=1)
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([Message("t", "k", b"1")])
        await consumer.next()
        with pytest.raises(ResourceExhausted):
            await bus.publish([Message("t", "k", b"2")])
        await consumer.commit()
        await bus.publish([Message("t", "k", b"2")])

        assert [each.value for each in await consumer.next()] == [b"2"]


async def test_a_topic_that_nobody_reads_keeps_nothing() -> None:
    bus = MemoryEventBus(max_backlog=1)
    for _ in range(10):
        await bus.publish([Message("t", "k", b"")])

    assert not bus._topics


@pytest.mark.parametrize(
    ("opened", "reason", "setting"),
    [
        (partial(event_store, service="test"), "EVENT_STORE_UNSUPPORTED", "RUNPLANE_EVENT_STORE"),
        (hot_store, "HOT_STORE_UNSUPPORTED", "RUNPLANE_HOT_STORE"),
        (event_bus, "EVENT_BUS_UNSUPPORTED", "RUNPLANE_EVENT_BUS"),
    ],
)
async def test_an_unsupported_url_names_the_setting_and_not_the_password(
    opened: object, reason: str, setting: str
) -> None:
    assert callable(opened)
    with pytest.raises(InvalidArgument) as caught:
        async with opened("nosuch://user:hunter2@host/"):
            pass

    assert caught.value.reason == reason
    assert caught.value.violations[0].field == setting
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_an_option_that_redis_does_not_know_is_refused_before_anybody_waits(
    scheme: str,
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        async with hot_store(f"{scheme}://:hunter2@127.0.0.1:1/0?no_such_option=hunter2"):
            pass

    assert caught.value.reason == "HOT_STORE_UNSUPPORTED"
    assert "hunter2" not in str(caught.value) + str(caught.value.metadata)
