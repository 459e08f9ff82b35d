"""Event buses that a workflow service works on, as others see them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from runplane.workflow.v1 import workflow_pb2 as pb

from services.chassis.eventbus.aliases import AliasedEventBus
from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import Consumer, EventBus, Message
from services.workflow.settings import EventSettings
from tests.integration.workflow.world import SHARED, World, started
from tests.servers.kafka import kafka

SIGNALS = "workflow-signals"
SECONDS = 20


@dataclass
class Ear:
    """What arrives on a topic."""

    heard: list[Message] = field(default_factory=list)

    async def until(self, count: int) -> list[Message]:
        """So many."""
        async with asyncio.timeout(SECONDS):
            while len(self.heard) < count:  # noqa: ASYNC110 - it tells nobody.
                await asyncio.sleep(0.02)
        return self.heard

    async def listen(self, consumer: Consumer) -> None:
        """Until cancelled."""
        while True:
            self.heard += await consumer.next()
            await consumer.commit()


@dataclass(frozen=True)
class Outside:
    """A service, and its bus as other systems have it."""

    world: World
    bus: EventBus

    @asynccontextmanager
    async def listening(self, topic: str) -> AsyncIterator[Ear]:
        """What arrives on a topic from now on."""
        ear = Ear()
        async with self.bus.consume(topic, group=f"test-{uuid4().hex[:8]}") as consumer:
            task = asyncio.ensure_future(ear.listen(consumer))
            try:
                yield ear
            finally:
                task.cancel()

    async def says(self, message: Message) -> None:
        """Tell the service something."""
        await self.bus.publish([message])


@asynccontextmanager
async def outside(kind: str, events: EventSettings | None = None) -> AsyncIterator[Outside]:
    """A service on a bus in memory, or on Kafka."""
    if kind == "memory":
        memory = MemoryEventBus()
        async with started(bus=AliasedEventBus({"events": memory}, memory), events=events) as world:
            yield Outside(world, memory)
        return
    with kafka() as broker:
        shared = SHARED.model_copy(update={"event_bus": broker.url})
        async with event_bus(broker.url) as bus, started(shared, events=events) as world:
            there = Outside(world, bus)
            await _joined(there)
            yield there


async def _joined(there: Outside) -> None:
    """Wait until the service hears what is said: it has set an event for nobody aside."""
    async with there.listening(f"{SIGNALS}.dead-letter") as ear:
        request = pb.PublishEventRequest(event_type="knock", correlation_id="nobody's")
        await there.world.workflows.PublishEvent(request, timeout=SECONDS)
        await ear.until(1)


def binary(event_type: str, data: object = None, *, key: str = "", **attributes: str) -> Message:
    """A CloudEvent whose attributes are headers."""
    given = {"specversion": "1.0", "id": uuid4().hex, "source": "/shop", "type": event_type}
    headers = {f"ce_{name}": value for name, value in (given | attributes).items()}
    value = b"" if data is None else json.dumps(data).encode()
    return Message(SIGNALS, key, value, headers | {"content-type": "application/json"})


def structured(event_type: str, data: object = None, **attributes: str) -> Message:
    """A CloudEvent that is one JSON document."""
    given = {"specversion": "1.0", "id": uuid4().hex, "source": "/shop", "type": event_type}
    document = json.dumps(given | attributes | {"data": data}).encode()
    return Message(SIGNALS, "", document, {"content-type": "application/cloudevents+json"})


def said(message: Message) -> Mapping[str, Any]:
    """A value that is JSON."""
    found: Mapping[str, Any] = json.loads(message.value)
    return found


def headed(messages: list[Message], name: str) -> list[str]:
    """One header of each."""
    return [message.headers.get(name, "") for message in messages]
