"""What every event bus promises."""

import asyncio
from collections import defaultdict

from services.chassis.eventbus.port import Consumer, EventBus, Message

SECONDS = 30  # A member of a group that grows or shrinks waits for it.


def message(key: str, value: bytes = b"", topic: str = "t") -> Message:
    return Message(topic, key, value)


async def take(consumer: Consumer, count: int) -> list[Message]:
    met: list[Message] = []
    async with asyncio.timeout(SECONDS):
        while len(met) < count:
            met += await consumer.next()
    return met


def values(messages: list[Message]) -> list[bytes]:
    return sorted(each.value for each in messages)


async def test_a_message_arrives_as_it_was_sent(bus: EventBus) -> None:
    sent = Message("t", "k", bytes(range(256)), {"ce_type": "thing.happened.v1"})
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([sent])

        assert await take(consumer, 1) == [sent]


async def test_a_consumer_waits_until_something_is_sent(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as consumer, asyncio.TaskGroup() as group:
        waiting = group.create_task(take(consumer, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        await bus.publish([message("k", b"1")])

    assert values(waiting.result()) == [b"1"]


async def test_every_group_gets_every_message(bus: EventBus) -> None:
    async with bus.consume("t", group="a") as first, bus.consume("t", group="b") as second:
        await bus.publish([message("k", b"1"), message("k", b"2")])

        assert values(await take(first, 2)) == [b"1", b"2"]
        assert values(await take(second, 2)) == [b"1", b"2"]


async def test_topics_are_apart(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([message("k", b"other", topic="u"), message("k", b"ours")])

        assert values(await take(consumer, 1)) == [b"ours"]


async def test_a_new_group_starts_with_what_is_sent_from_then_on(bus: EventBus) -> None:
    async with bus.consume("t", group="old"):
        await bus.publish([message("k", b"before")])
        async with bus.consume("t", group="new") as consumer:
            await bus.publish([message("k", b"after")])

            assert values(await take(consumer, 1)) == [b"after"]


async def test_a_group_keeps_what_is_sent_while_nobody_consumes(bus: EventBus) -> None:
    async with bus.consume("t", group="g"):
        pass
    await bus.publish([message("k", b"1")])
    async with bus.consume("t", group="g") as consumer:
        assert values(await take(consumer, 1)) == [b"1"]


async def test_messages_of_a_key_stay_in_order(bus: EventBus) -> None:
    sent = [message(f"k{n % 7}", b"%03d" % n) for n in range(300)]
    async with bus.consume("t", group="g") as consumer:
        await bus.publish(sent[:150])
        await bus.publish(sent[150:])
        met = await take(consumer, 300)

    by_key: dict[str, list[bytes]] = defaultdict(list)
    for each in met:
        by_key[each.key].append(each.value)
    assert sorted(each.value for each in met) == [each.value for each in sent]
    assert all(found == sorted(found) for found in by_key.values())


async def test_next_gives_no_more_than_its_limit(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([message(f"k{n}", b"%d" % n) for n in range(10)])

        async with asyncio.timeout(SECONDS):
            assert len(await consumer.next(limit=3)) <= 3


async def test_what_was_not_committed_comes_again_in_its_order(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as first:
        await bus.publish([message("k", b"1"), message("k", b"2")])
        await take(first, 2)
    await bus.publish([message("k", b"3")])
    async with bus.consume("t", group="g") as second:
        again = await take(second, 3)

    assert [each.value for each in again] == [b"1", b"2", b"3"]


async def test_what_was_committed_does_not_come_again(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as first:
        await bus.publish([message("k", b"1")])
        await take(first, 1)
        await first.commit()
        await bus.publish([message("k", b"2")])
        await take(first, 1)
    async with bus.consume("t", group="g") as second:
        await bus.publish([message("k", b"3")])
        again = await take(second, 2)

    assert [each.value for each in again] == [b"2", b"3"]


async def test_a_consumer_that_does_not_commit_does_not_get_a_message_twice(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([message("k", b"1")])
        first = await take(consumer, 1)
        await bus.publish([message("k", b"2")])
        second = await take(consumer, 1)

    assert values(first + second) == [b"1", b"2"]


async def shared(bus: EventBus, sent: list[Message]) -> list[Message]:
    """What two consumers of a group met, in the order in which they were done with it."""
    met: list[Message] = []
    everything = asyncio.Event()

    async def work(consumer: Consumer) -> None:
        while not everything.is_set():
            taken = await consumer.next(limit=5)
            await asyncio.sleep(0)  # The other one's turn, while this one is at work.
            met.extend(taken)
            await consumer.commit()
            if len(met) >= len(sent):
                everything.set()

    async with (
        bus.consume("t", group="g") as first,
        bus.consume("t", group="g") as second,
        asyncio.timeout(SECONDS),
    ):
        workers = [asyncio.ensure_future(work(each)) for each in (first, second)]
        for each in sent:
            await bus.publish([each])
        await everything.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return met


async def test_each_message_reaches_one_of_a_groups_consumers(bus: EventBus) -> None:
    sent = [message(f"k{n % 50}", b"%d" % n) for n in range(200)]

    assert values(await shared(bus, sent)) == values(sent)


async def test_one_key_is_dealt_with_in_order_even_by_two_consumers(bus: EventBus) -> None:
    sent = [message("k", b"%d" % n) for n in range(100)]

    assert await shared(bus, sent) == sent


async def test_publishing_nothing_is_nothing(bus: EventBus) -> None:
    await bus.publish([])


async def test_lag_counts_what_is_not_committed(bus: EventBus) -> None:
    async with bus.consume("t", group="g") as consumer:
        await bus.publish([message("k", b"%d" % n) for n in range(5)])
        first = await consumer.next(limit=2)
        before = consumer.lag()
        await consumer.commit()

        assert before == 5
        assert consumer.lag() == 5 - len(first)


async def test_a_topic_has_partitions(bus: EventBus) -> None:
    assert await bus.partitions("t") > 1
