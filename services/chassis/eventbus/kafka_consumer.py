"""A member of a group in Kafka. Offsets are committed when the caller says so, never by time."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

from services.chassis.errors import Unavailable
from services.chassis.eventbus.kafka_errors import FAILURES, MOVED, explained
from services.chassis.eventbus.port import Message, Place

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 5.0  # That partitions wait to move for what was handed out of them.
COMMIT_SECONDS: Final = 10.0
POLL_MS: Final = 1_000


class KafkaConsumer:
    """See `Consumer`."""

    def __init__(self, client: AIOKafkaConsumer, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._handed_out: dict[TopicPartition, int] = {}  # The offset to go on with, after them.
        self._done: dict[TopicPartition, int] = {}
        self._is_settled = asyncio.Event()
        self._is_settled.set()
        self._is_steady = asyncio.Event()
        self._failure: Exception | None = None  # The client drops those of its listeners.

    async def join(self) -> None:
        """Become a member that has partitions, or knows that there are none for it."""
        self._client.subscribe([self._topic], listener=_Moves(self))
        await self._client.start()
        await self._is_steady.wait()
        if self._failure is not None:
            raise self._failure

    async def next(self, limit: int = 100) -> Sequence[Message]:
        """See `Consumer`."""
        while True:
            await self._is_steady.wait()
            if self._failure is not None:
                raise explained(self._failure, self._topic)
            try:
                found = await self._client.getmany(timeout_ms=POLL_MS, max_records=limit)
            except ConsumerStoppedError:
                raise Unavailable("EVENT_BUS_UNAVAILABLE", "the consumer is closed") from None
            except FAILURES as error:
                raise explained(error, self._topic) from None
            if messages := [each for lane in found.items() for each in self._given(*lane)]:
                return messages

    async def commit(self) -> None:
        """See `Consumer`."""
        offsets = dict(self._handed_out)
        try:
            if offsets:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await self._client.commit(offsets)
        except MOVED as error:
            cause = type(error).__name__
            log.info("partitions moved", extra={"topic": self._topic, "cause": cause})
        except FAILURES as error:
            raise explained(error, self._topic) from None
        self._done.update(offsets)
        for partition, offset in offsets.items():
            if self._handed_out.get(partition) == offset:
                del self._handed_out[partition]
        if not self._handed_out:
            self._is_settled.set()

    def lag(self) -> int:
        """See `Consumer`."""
        with suppress(KafkaError):
            ends = {each: self._client.highwater(each) for each in self._client.assignment()}
            return sum(
                max(0, end - self._done[each])
                for each, end in ends.items()
                if end is not None and each in self._done
            )
        return 0

    async def leave_partitions(self) -> None:
        """They are about to move: give whoever works on what came of them time to commit it."""
        self._is_steady.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._is_settled.wait()
        self._handed_out.clear()
        self._is_settled.set()

    async def enter(self, assigned: Sequence[TopicPartition]) -> None:
        """Start where the group left off; a new group at the end, and from then on for good."""
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._enter(assigned)
        except FAILURES as error:
            self._failure = error
        self._is_steady.set()

    async def _enter(self, assigned: Sequence[TopicPartition]) -> None:
        self._done = {each: await self._client.committed(each) for each in assigned}
        new = [each for each, offset in self._done.items() if offset is None]
        if new:
            self._done.update(await self._starts(new, is_group_new=len(new) == len(assigned)))
            for partition in new:
                self._client.seek(partition, self._done[partition])
            await self._client.commit({each: self._done[each] for each in new})

    async def _starts(
        self, partitions: Sequence[TopicPartition], *, is_group_new: bool
    ) -> dict[TopicPartition, int]:
        """A partition that a topic got after the group began is read from its beginning."""
        look = self._client.end_offsets if is_group_new else self._client.beginning_offsets
        found: dict[TopicPartition, int] = await look(partitions)
        return found

    def _given(self, partition: TopicPartition, records: Sequence[Any]) -> list[Message]:
        if records:
            self._handed_out[partition] = records[-1].offset + 1
            self._is_settled.clear()
        return [_message(each) for each in records]


class _Moves(ConsumerRebalanceListener):  # type: ignore[misc] # The client has no types.
    """Hears of partitions that move."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before."""
        await self._consumer.leave_partitions()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """After."""
        await self._consumer.enter(sorted(assigned))


def _message(record: Any) -> Message:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    key = (record.key or b"").decode(errors="replace")
    place = Place(record.partition, record.offset)
    return Message(record.topic, key, record.value or b"", headers, place)
