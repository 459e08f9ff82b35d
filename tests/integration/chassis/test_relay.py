"""The outbox relay on real stores, against a bus that fails as it likes."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.errors import InvalidArgument, ResourceExhausted, Unavailable
from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.port import Consumer, Message
from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, EventStore
from services.chassis.eventlog.relay import LEASE, Relay
from tests.integration.chassis.relays import append, append_all, empty, recording, relay, until
from tests.servers.postgres import Postgres
from tests.servers.postgres import postgres as postgres_server


class FlakyBus:
    """A bus that is away when told so, takes a prefix now and then, and refuses large values."""

    def __init__(self) -> None:
        self._bus = MemoryEventBus()
        self.away: set[str] = set()
        self.takes: int | None = None
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, messages: Sequence[Message]) -> None:
        """As a bus that fails halfway."""
        self.calls += 1
        await self.gate.wait()
        if any(len(each.value) > 100 for each in messages):
            raise InvalidArgument("MESSAGE_TOO_LARGE", "too large")
        if messages[0].topic in self.away:
            raise Unavailable("EVENT_BUS_UNAVAILABLE", "away")
        if (takes := self.takes) is not None and takes < len(messages):
            self.takes = None
            await self._bus.publish(messages[:takes])
            raise Unavailable("EVENT_BUS_UNAVAILABLE", "cut")
        await self._bus.publish(messages)

    def consume(self, topic: str, *, group: str) -> AbstractAsyncContextManager[Consumer]:
        """As the bus behind it."""
        return self._bus.consume(topic, group=group)

    async def partitions(self, topic: str) -> int:
        """As the bus behind it, while it is there."""
        if topic in self.away:
            raise Unavailable("EVENT_BUS_UNAVAILABLE", "away")
        return await self._bus.partitions(topic)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventStore]:
    """An empty store that lasts."""
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}" if is_file else request.getfixturevalue("server").url
    async with event_store(url, service=f"test_{uuid4().hex[:12]}") as opened:
        yield opened


@pytest.fixture
def bus() -> FlakyBus:
    """A bus that works, until told otherwise."""
    return FlakyBus()


async def test_what_is_appended_is_told_in_the_order_of_each_key(
    store: EventStore, bus: FlakyBus
) -> None:
    async with recording(bus) as recorder, relay(store, bus):
        await append_all(store, keys=20, each=10)
        await recorder.until(keys=20, each=10)
        await empty(store)

    assert recorder.is_in_order(10)


async def test_an_append_of_this_process_wakes_the_relay(
    store: EventStore, bus: FlakyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.eventlog.relay.LOOK_SECONDS", 3600)
    async with recording(bus) as recorder, relay(store, bus):
        await append(store, "s", 1)
        await recorder.until(keys=1, each=1)
        await append(store, "s", 2)
        await recorder.until(keys=1, each=2)

    assert recorder.is_in_order(2)


async def test_a_bus_that_is_away_gets_everything_when_it_is_back(
    store: EventStore, bus: FlakyBus
) -> None:
    bus.away.add("t")
    async with recording(bus) as recorder, relay(store, bus):
        await append_all(store, keys=10, each=5)
        assert await store.backlog() == {"t": 50}
        bus.away.clear()
        await recorder.until(keys=10, each=5)

    assert recorder.is_in_order(5)


async def test_a_publish_that_fails_halfway_repeats_and_reorders_nothing(
    store: EventStore, bus: FlakyBus
) -> None:
    await append_all(store, keys=5, each=10)
    bus.takes = 23
    async with recording(bus) as recorder, relay(store, bus):
        await recorder.until(keys=5, each=10)

    assert recorder.is_in_order(10)
    assert len(recorder.met) == 50 + 23


async def test_a_topic_that_cannot_be_told_holds_up_no_other(
    store: EventStore, bus: FlakyBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.eventlog.relay.PAGE", 7)
    bus.away.add("stuck")
    await append_all(store, keys=10, each=3, topic="stuck")
    async with recording(bus) as recorder, relay(store, bus):
        for number in (1, 2):
            await append(store, "s", number)
        await recorder.until(keys=1, each=2)

    assert recorder.is_in_order(2)
    assert await store.backlog() == {"stuck": 30}


async def test_a_message_that_the_bus_never_takes_is_set_aside(
    store: EventStore, bus: FlakyBus
) -> None:
    large = Message("t", "s", b"x" * 101, {"ce_id": "s/1"})
    after = Message("t", "s", b"1", {"ce_id": "s/2"})
    await store.append(Append("acme", "s", 0, [], outbox=[large, after]))
    async with (
        recording(bus) as recorder,
        bus.consume("t.dead-letter", group="g") as dead,
        relay(store, bus),
        asyncio.timeout(10),
    ):
        await recorder.until(keys=1, each=1)
        (letter,) = await dead.next()

    assert letter.headers["ce_id"] == "s/1"
    assert letter.headers["reason"] == "MESSAGE_TOO_LARGE"
    assert letter.headers["original-topic"] == "t"


async def test_of_two_relays_one_tells_until_it_ends(store: EventStore, bus: FlakyBus) -> None:
    async with recording(bus) as recorder:
        async with relay(store, bus), relay(store, bus):
            await append_all(store, keys=10, each=10)
            await recorder.until(keys=10, each=10)
            await empty(store)
            met = len(recorder.met)
        async with relay(store, bus):
            await append(store, "s_0", 11)
            await recorder.until(keys=1, each=101)

    assert met == 100


async def test_a_relay_that_wakes_up_after_a_pause_only_repeats(
    store: EventStore, bus: FlakyBus
) -> None:
    """It has read, and sends when another has told all that and more."""
    paused = FlakyBus()
    paused._bus = bus._bus
    paused.gate.clear()
    sleeper = Relay(store, paused, Backlog(), owner="sleeper")
    await append_all(store, keys=5, each=4)
    async with recording(bus) as recorder:
        waking = asyncio.ensure_future(sleeper.tell())
        await until(lambda: paused.calls > 0)
        await store.renew("sleeper", lease=LEASE * 0)
        async with relay(store, bus):
            await recorder.until(keys=5, each=4)
            await empty(store)
            for n in range(5):
                await append(store, f"s_{n}", 5)
            await recorder.until(keys=5, each=5)
        paused.gate.set()
        await waking
        await until(lambda: len(recorder.met) >= 45)

    assert recorder.is_in_order(5)
    assert not await store.backlog()


async def test_a_full_outbox_refuses_until_it_is_told(store: EventStore, bus: FlakyBus) -> None:
    bus.away.add("t")
    backlog = Backlog(most_per_partition=10)
    async with relay(store, bus, backlog):
        for number in range(1, 11):
            backlog.admit("t")
            await append(store, "s", number)
        await until(lambda: backlog.counts == {"t": 10})
        with pytest.raises(ResourceExhausted) as caught:
            backlog.admit("t")
        bus.away.clear()
        await empty(store)
        await until(lambda: not backlog.total)
        backlog.admit("t", 10)

    assert caught.value.reason == "OUTBOX_FULL"
    assert caught.value.retry_after
    facts = dict(caught.value.metadata)
    assert "RUNPLANE_EVENT_BUS" in facts.pop("suggested_fix")
    assert facts == {"topic": "t", "waiting": "10", "most": "10"}


async def test_the_count_of_what_others_appended_is_known_as_well(
    store: EventStore, bus: FlakyBus
) -> None:
    bus.away.add("t")
    seen: list[int] = []
    backlog = Backlog(watch=lambda counts: seen.append(sum(counts.values())))
    await append_all(store, keys=3, each=2)
    async with relay(store, bus, backlog):
        await until(lambda: bool(seen))

    assert seen[0] == 6
    assert dict(backlog.counts) == {"t": 6}
