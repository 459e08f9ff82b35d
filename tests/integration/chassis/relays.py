"""What tests of the relay share, and a program that relays: `python -m …relays STORE BUS`."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import Consumer, EventBus, Message
from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, EventStore, NewEvent
from services.chassis.eventlog.relay import Relay, relaying

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECONDS = 60


async def append(store: EventStore, key: str, number: int, topic: str = "t") -> None:
    """The event `number` of a stream, and the message that tells it."""
    event = NewEvent("thing.happened.v1", NOW, b"")
    message = Message(topic, key, b"%d" % number, {"ce_id": f"{key}/{number}"})
    await store.append(Append("acme", key, number - 1, [event], outbox=[message]))


async def append_all(store: EventStore, keys: int, each: int, topic: str = "t") -> None:
    """Streams side by side, each in its order."""

    async def stream(key: str) -> None:
        for number in range(1, each + 1):
            await append(store, key, number, topic)

    await asyncio.gather(*(stream(f"s_{n}") for n in range(keys)))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what tells nobody."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class Recorder:
    """What arrives on a topic."""

    def __init__(self) -> None:
        self.met: list[Message] = []
        self.firsts: dict[str, list[int]] = defaultdict(list)

    async def record(self, consumer: Consumer) -> None:
        """Until cancelled."""
        while True:
            for each in await consumer.next(limit=500):
                self.met.append(each)
                if (number := int(each.value)) not in self.firsts[each.key]:
                    self.firsts[each.key].append(number)
            await consumer.commit()

    async def until(self, keys: int, each: int) -> None:
        """Wait until everything has arrived at least once."""
        await until(lambda: sum(map(len, self.firsts.values())) >= keys * each)

    def is_in_order(self, each: int) -> bool:
        """Whether the first arrivals of every key are in its order, without a gap."""
        return all(found == list(range(1, each + 1)) for found in self.firsts.values())


@asynccontextmanager
async def recording(bus: EventBus, topic: str = "t") -> AsyncIterator[Recorder]:
    """A consumer that notes what arrives, from now on."""
    recorder = Recorder()
    async with bus.consume(topic, group=f"recorder-{uuid4().hex[:8]}") as consumer:
        task = asyncio.ensure_future(recorder.record(consumer))
        try:
            yield recorder
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def relay(
    store: EventStore, bus: EventBus, backlog: Backlog | None = None
) -> AsyncIterator[Relay]:
    """One that tells."""
    owner = f"relay_{uuid4().hex[:8]}"
    async with relaying(store, bus, backlog or Backlog(), owner=owner) as running:
        yield running


async def empty(store: EventStore) -> None:
    """Wait until all is told."""
    async with asyncio.timeout(SECONDS):
        while await store.backlog():  # noqa: ASYNC110 - the store tells nobody.
            await asyncio.sleep(0.02)


async def main(arguments: Sequence[str]) -> None:
    """Relay until killed."""
    store_url, service, bus_url = arguments
    async with (
        event_store(store_url, service=service) as store,
        event_bus(bus_url) as bus,
        relay(store, bus),
    ):
        sys.stdout.write("relaying\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
