"""An event bus in this process's memory, for a laptop and for tests. Nothing survives its end."""

import asyncio
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from services.chassis.errors import ResourceExhausted
from services.chassis.eventbus.port import Message

_PARTITIONS: Final = 16


class _Partition:
    """Messages whose keys fall together. One consumer at a time holds it, until it commits."""

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.handed_out: list[Message] = []
        self.holder: MemoryConsumer | None = None


class _Group:
    """What one group has still to deal with, of one topic."""

    def __init__(self) -> None:
        self.partitions = [_Partition() for _ in range(_PARTITIONS)]
        self.turns = deque(self.partitions)
        self.consumers: set[MemoryConsumer] = set()
        self.backlog = 0

    def add(self, message: Message) -> None:
        partition = self.partitions[zlib.crc32(message.key.encode()) % _PARTITIONS]
        partition.waiting.append(message)
        self.backlog += 1

    def wake(self) -> None:
        for consumer in self.consumers:
            consumer.wake.set()


class MemoryConsumer:
    """Holds the partitions it took messages of until it commits, so that keys stay in order."""

    def __init__(self, group: _Group) -> None:
        self._group = group
        self.wake = asyncio.Event()

    async def next(self, limit: int = 100) -> Sequence[Message]:
        """See `Consumer`."""
        while not (messages := self._take(limit)):
            self.wake.clear()
            await self.wake.wait()
        return messages

    async def commit(self) -> None:
        """See `Consumer`."""
        for partition in self._held():
            self._group.backlog -= len(partition.handed_out)
            partition.handed_out.clear()
            partition.holder = None
        self._group.wake()

    def lag(self) -> int:
        """See `Consumer`. Any of the group's may come to it."""
        return self._group.backlog

    def close(self) -> None:
        """Give back what was not committed, in its old place."""
        self._group.consumers.discard(self)
        for partition in self._held():
            partition.waiting.extendleft(reversed(partition.handed_out))
            partition.handed_out.clear()
            partition.holder = None
        self._group.wake()

    def _held(self) -> list[_Partition]:
        return [each for each in self._group.partitions if each.holder is self]

    def _take(self, limit: int) -> list[Message]:
        taken: list[Message] = []
        self._group.turns.rotate(-1)  # So that none is always the last one.
        for partition in self._group.turns:
            if partition.holder not in {None, self}:
                continue
            while partition.waiting and len(taken) < limit:
                partition.holder = self
                message = partition.waiting.popleft()
                partition.handed_out.append(message)
                taken.append(message)
        return taken


class MemoryEventBus:
    """Each group of a topic has room for `max_backlog` messages that it has not dealt with."""

    def __init__(self, max_backlog: int = 10_000) -> None:
        self._max_backlog = max_backlog
        self._topics: dict[str, dict[str, _Group]] = {}

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `EventBus`."""
        for topic, count in Counter(message.topic for message in messages).items():
            self._check_room(topic, count)
        for message in messages:
            for group in self._topics.get(message.topic, {}).values():
                group.add(message)
        for topic in {message.topic for message in messages}:
            for group in self._topics.get(topic, {}).values():
                group.wake()

    @asynccontextmanager
    async def consume(self, topic: str, *, group: str) -> AsyncIterator[MemoryConsumer]:
        """See `EventBus`."""
        joined = self._topics.setdefault(topic, {}).setdefault(group, _Group())
        consumer = MemoryConsumer(joined)
        joined.consumers.add(consumer)
        try:
            yield consumer
        finally:
            consumer.close()

    async def partitions(self, topic: str) -> int:
        """See `EventBus`."""
        return _PARTITIONS

    def _check_room(self, topic: str, count: int) -> None:
        for name, group in self._topics.get(topic, {}).items():
            if group.backlog + count > self._max_backlog:
                raise ResourceExhausted(
                    "EVENT_BUS_FULL",
                    f"{name} has {group.backlog} messages of {topic} to deal with",
                    topic=topic,
                    group=name,
                    max_backlog=str(self._max_backlog),
                ).after(timedelta(seconds=1))
