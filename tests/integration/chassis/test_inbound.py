"""The consumer loop, over the in-process bus and a real Kafka."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, ServiceError, Unavailable
from services.chassis.eventbus.inbound import Inbound
from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import EventBus, Message
from tests.integration.chassis.relays import until
from tests.servers.kafka import kafka
from tests.servers.proxy import proxy

Handle = Callable[[Message], Awaitable[None]]


@pytest.fixture(params=["memory", "kafka"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[EventBus]:
    """An empty bus of each adapter."""
    if request.param == "memory":
        async with event_bus("memory:") as opened:
            yield opened
        return
    with kafka() as broker:
        async with event_bus(broker.url) as opened:
            yield opened


@asynccontextmanager
async def consuming(bus: EventBus, handle: Handle) -> AsyncIterator[Inbound]:
    """A member at work, that has joined."""
    inbound = Inbound(bus, "t", "g", handle)
    task = asyncio.ensure_future(inbound.run())
    try:
        await until(lambda: inbound._consumer is not None)
        yield inbound
    finally:
        inbound.stop()
        async with asyncio.timeout(20):
            await task


class Recorder:
    """A handler that fails as it is told."""

    def __init__(self, failures: dict[bytes, list[Exception]] | None = None) -> None:
        self.met: list[bytes] = []
        self.tries: Counter[bytes] = Counter()
        self._failures = failures or {}

    async def __call__(self, message: Message) -> None:
        """Note it, or fail."""
        self.tries[message.value] += 1
        if failures := self._failures.get(message.value):
            raise failures.pop(0)
        self.met.append(message.value)


def sent(count: int) -> list[Message]:
    return [Message("t", "k", b"%d" % n, {"ce_id": f"{n}"}) for n in range(count)]


async def test_messages_are_handed_on_in_order_and_then_committed(bus: EventBus) -> None:
    handle = Recorder()
    async with consuming(bus, handle) as inbound:
        await bus.publish(sent(250))
        await until(lambda: len(handle.met) == 250)
        await until(lambda: inbound.lag == 0)

    assert handle.met == [each.value for each in sent(250)]


async def test_what_fails_for_now_is_tried_again_and_keeps_its_place(bus: EventBus) -> None:
    away = [Unavailable("EVENT_STORE_UNAVAILABLE", "away") for _ in range(2)]
    handle = Recorder({b"1": list(away)})
    async with consuming(bus, handle):
        await bus.publish(sent(4))
        await until(lambda: len(handle.met) == 4)

    assert handle.met == [b"0", b"1", b"2", b"3"]
    assert handle.tries[b"1"] == 3


@pytest.mark.parametrize(
    ("error", "reason", "tries"),
    [
        (InvalidArgument("CLOUDEVENT_INVALID", "id: is missing"), "CLOUDEVENT_INVALID", 1),
        (FailedPrecondition("APPROVAL_REQUIRED", "a person decides"), "APPROVAL_REQUIRED", 1),
        (ZeroDivisionError("a bug"), "INTERNAL", 3),
    ],
)
async def test_what_never_works_is_set_aside_with_the_reason(
    bus: EventBus, error: Exception, reason: str, tries: int
) -> None:
    handle = Recorder({b"1": [error] * 9})
    async with (
        bus.consume("t.dead-letter", group="people") as dead,
        consuming(bus, handle) as inbound,
        asyncio.timeout(30),
    ):
        await bus.publish(sent(3))
        (letter,) = await dead.next()
        await until(lambda: len(handle.met) == 2)

    assert handle.met == [b"0", b"2"]
    assert handle.tries[b"1"] == tries
    assert inbound.dead_letters == 1
    assert (letter.key, letter.value, letter.headers["ce_id"]) == ("k", b"1", "1")
    assert letter.headers["reason"] == reason
    assert letter.headers["original-topic"] == "t"
    if isinstance(error, ServiceError):
        assert letter.headers["error"] == error.message


async def test_a_dead_letter_of_kafka_says_where_the_message_was() -> None:
    handle = Recorder({b"0": [InvalidArgument("NO", "no")]})
    with kafka() as broker:
        async with (
            event_bus(broker.url) as bus,
            bus.consume("t.dead-letter", group="people") as dead,
            consuming(bus, handle),
            asyncio.timeout(30),
        ):
            await bus.publish(sent(1))
            (letter,) = await dead.next()

    assert letter.headers["original-offset"] == "0"
    assert letter.headers["original-partition"].isdigit()


async def test_a_member_that_ends_between_handling_and_commit_leaves_all_to_come_again(
    bus: EventBus,
) -> None:
    reached = asyncio.Event()

    async def handle(message: Message) -> None:
        if message.value == b"2":
            reached.set()
            await asyncio.Event().wait()

    dying = asyncio.ensure_future((first := Inbound(bus, "t", "g", handle)).run())
    await until(lambda: first._consumer is not None)
    await bus.publish(sent(4))
    async with asyncio.timeout(30):
        await reached.wait()
    dying.cancel()
    await asyncio.wait([dying])
    again = Recorder()
    async with consuming(bus, again):
        await until(lambda: len(again.met) == 4)

    assert again.met == [b"0", b"1", b"2", b"3"]


async def test_stopping_while_a_message_waits_commits_nothing_behind_it(bus: EventBus) -> None:
    away = Recorder({b"1": [Unavailable("EVENT_STORE_UNAVAILABLE", "away")] * 99})
    async with consuming(bus, away):
        await bus.publish(sent(3))
        await until(lambda: away.tries[b"1"] > 0)
    again = Recorder()
    async with consuming(bus, again):
        await until(lambda: b"2" in again.met)

    assert again.met[-2:] == [b"1", b"2"]


async def test_a_broker_that_is_cut_off_is_waited_for() -> None:
    handle = Recorder()
    async with proxy() as between:
        with kafka(advertised=between.port) as broker:
            between.target = broker.port
            async with (
                event_bus(broker.url) as bus,
                event_bus(broker.url) as sending,
                consuming(bus, handle),
            ):
                await sending.publish(sent(10))
                await until(lambda: len(handle.met) >= 10)
                between.refuse()
                await asyncio.sleep(1)  # Of refused connections, not of waiting.
                between.resume()
                await sending.publish([Message("t", "k", b"after")])
                await until(lambda: b"after" in handle.met)

    assert list(dict.fromkeys(handle.met)) == [*(each.value for each in sent(10)), b"after"]
