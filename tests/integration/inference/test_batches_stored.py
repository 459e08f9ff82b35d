"""Batches on stores that misbehave, and on logs that cannot be read."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from runplane.inference.v1 import batches_pb2 as pb

from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, Claim, NewEvent, StoredEvent, Work
from services.chassis.hotstore.memory import MemoryHotStore
from services.inference.adapters.batchdesk import EventStoreBatchDesk
from services.inference.adapters.batchlog import KIND, EventStoreBatches
from services.inference.batching.gate import Gate
from services.inference.batching.turn import World
from services.inference.batching.worker import Sizes, working
from services.inference.domain import batch as bt
from services.inference.domain.generation import Finished
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request
from services.inference.engines.echo.engine import EchoEngine
from services.inference.mapping.inference import Schemas
from services.inference.ports import Serving
from services.inference.usecases.inference import Inference
from tests.integration.inference.batches import items

SOON = timedelta(milliseconds=50)


class Moody(MemoryEventStore):
    """A store that is full or away for some appends: before it has written them, or behind."""

    def __init__(self) -> None:
        super().__init__()
        self.full = 0
        self.before = 0
        self.behind = 0
        self.is_overloaded = False
        """Whether nothing can be read."""

    async def append(self, batch: Append) -> Claim | None:
        """As the real one, if it is there."""
        has_outcome = any(each.type == "batch.item_ended.v1" for each in batch.events)
        if has_outcome and self.full:
            self.full -= 1
            raise ResourceExhausted("EVENT_STORE_OVERLOADED", "others write")
        if has_outcome and self.before:
            self.before -= 1
            raise Unavailable("EVENT_STORE_UNAVAILABLE", "it is away")
        claim = await super().append(batch)
        if has_outcome and self.behind:
            self.behind -= 1
            raise Unavailable("EVENT_STORE_UNAVAILABLE", "nothing is known of the outcome")
        return claim

    async def read(self, *args: Any, **kwargs: Any) -> Sequence[StoredEvent]:
        """As the real one, if it has time."""
        if self.is_overloaded and kwargs.get("after"):
            raise ResourceExhausted("EVENT_STORE_OVERLOADED", "others read")
        return await super().read(*args, **kwargs)


class Engine(EchoEngine):
    """Echo, which counts what it was asked."""

    asked = 0

    def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """As the real one."""
        self.asked += 1
        return super().generate(request, pace=pace)


class One:
    """A catalogue of one."""

    def __init__(self) -> None:
        self._engine = Engine(slots=2)

    @property
    def asked(self) -> int:
        """How many generations there were."""
        return self._engine.asked

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        """The one."""
        return Serving(self._engine.models()[0], self._engine)

    def models(self, tenant: str) -> Sequence[Model]:
        """The one."""
        return self._engine.models()


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@asynccontextmanager
async def worked(store: MemoryEventStore, models: One) -> AsyncIterator[EventStoreBatches]:
    """The log of a worker's batches, on this store."""
    log = EventStoreBatches(store, MemoryHotStore(), Schemas())
    world = World(log, Inference(models, SOON, 1 << 20, now), Gate(models), now)
    desk = EventStoreBatchDesk(store, "worker", timedelta(seconds=5))
    async with working(desk, world, Sizes(4, SOON, SOON)):
        yield log


async def begun(log: EventStoreBatches, batch_id: str, count: int) -> None:
    """A batch of so many items."""
    spec = bt.Spec(batch_id, "t", "me", "", "", {}, now() + timedelta(hours=1))
    asked = [bt.Item(str(n), Request("", (Message("user", "x"),))) for n in range(count)]
    sent = pb.GenerateBatchRequest(items=items(*["x"] * count))
    await log.begin(bt.Created(now(), spec, asked), sent.SerializeToString())


async def ended(log: EventStoreBatches, batch_id: str) -> Sequence[pb.BatchEvent]:
    """What happened until it ended."""
    return [pb.BatchEvent.FromString(each) async for each in log.watch("t", batch_id, after=0)]


@pytest.mark.parametrize("when", ["full", "before", "behind"])
async def test_what_was_generated_is_not_lost_with_the_store(when: str) -> None:
    store, models = Moody(), One()
    setattr(store, when, 2)
    async with worked(store, models) as log, asyncio.timeout(10):
        await begun(log, "batch_a", 10)
        events = await ended(log, "batch_a")

    done = Counter(event.item.key for event in events if event.type == "item_completed")
    assert [event.sequence for event in events] == list(range(1, 14))
    assert (done, models.asked) == (Counter(map(str, range(10))), 10)
    assert events[-1].batch.status == "completed"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (NewEvent("batch.item_ended.v1", now(), b"\xff\xff"), "BATCH_CORRUPT"),
        (NewEvent("batch.unheard_of.v1", now(), b""), "WRITTEN_BY_NEWER_VERSION"),
        (
            NewEvent("batch.item_ended.v1", now(), pb.BatchEvent().SerializeToString()),
            "BATCH_CORRUPT",
        ),
    ],
)
async def test_a_log_that_cannot_be_read_holds_up_no_other(broken: NewEvent, reason: str) -> None:
    store = MemoryEventStore()
    still = EventStoreBatches(store, MemoryHotStore(), Schemas())
    await begun(still, "batch_a", 1)
    await store.append(Append("t", "batch_a", 1, [broken], work=Work(KIND, is_shared=True)))
    async with worked(store, One()) as log, asyncio.timeout(10):
        await begun(log, "batch_b", 1)
        events = await ended(log, "batch_b")
        with pytest.raises(ServiceError) as unread:
            await log.load("t", "batch_a")

    assert events[-1].type == "batch_ended"
    assert unread.value.reason == reason


async def test_a_store_without_time_is_no_log_that_cannot_be_read() -> None:
    store = Moody()
    log = EventStoreBatches(store, MemoryHotStore(), Schemas())
    await begun(log, "batch_a", 1)
    store.is_overloaded = True

    with pytest.raises(ResourceExhausted) as caught:
        await log.load("t", "batch_a")

    assert caught.value.reason == "EVENT_STORE_OVERLOADED"
