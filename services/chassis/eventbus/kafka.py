"""An event bus in Kafka (docs/decisions/0023).

Correctness rests on one rule, not on Kafka's transactions: to a partition, a batch is sent when the
one before it is acknowledged by all replicas. So its log is always a prefix of what is to be sent,
with repeats.
"""

import asyncio
import logging
import re
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner

from services.chassis.eventbus import kafka_errors
from services.chassis.eventbus.kafka_consumer import KafkaConsumer
from services.chassis.eventbus.kafka_errors import FAILURES, Seldom, explained
from services.chassis.eventbus.kafka_url import Cluster, unsupported
from services.chassis.eventbus.port import Message

log = logging.getLogger(__name__)

SECONDS: Final = 10.0  # For a publish, whatever happens.
REQUEST_MS: Final = 4_000  # Within it a connection that says nothing is given up, and tried anew.
MAX_BATCH_BYTES: Final = 512 * 1024
MAX_MESSAGE_BYTES: Final = 1_000_000  # Kafka's default limit, less what goes around a message.
PUBLISHES: Final = 16  # At once; more wait.
SESSION_MS: Final = 6_000  # The least that brokers allow, so that a dead member is replaced soon.
HEARTBEAT_MS: Final = 500
REBALANCE_MS: Final = 8_000  # For members to finish what they have; then it goes on without them.
JOINING_MS: Final = 15_000  # An answer to a member may have to wait for the others.
FETCH_BYTES: Final = 1024 * 1024
FETCH_WAIT_MS: Final = 100  # Some brokers answer a fetch when its time is over, not at once.
JOIN_SECONDS: Final = 30.0
_LOGGERS: Final = (
    "",
    "cluster",
    "conn",
    "consumer.consumer",
    "consumer.fetcher",
    "consumer.group_coordinator",
    "producer.producer",
    "producer.sender",
)
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_partition_of: Final = DefaultPartitioner()


class KafkaEventBus:
    """See `EventBus`. `opened` makes one."""

    def __init__(self, cluster: Cluster, tasks: asyncio.TaskGroup) -> None:
        self._cluster = cluster
        self._tasks = tasks
        self._options = _options(cluster)
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._publishes = asyncio.Semaphore(PUBLISHES)

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `EventBus`. A topic that is not there is made."""
        for message in messages:
            _check(message)
        by_topic: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            by_topic[message.topic].append(message)
        async with self._publishes:
            for topic, group in by_topic.items():
                await self._publish(topic, group)

    @asynccontextmanager
    async def consume(self, topic: str, *, group: str) -> AsyncIterator[KafkaConsumer]:
        """See `EventBus`."""
        await self.partitions(topic)
        client = AIOKafkaConsumer(
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # `KafkaConsumer` sets where a new group starts.
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            **self._options | {"request_timeout_ms": JOINING_MS},
        )
        consumer = KafkaConsumer(client, topic)
        try:
            try:
                async with asyncio.timeout(JOIN_SECONDS):
                    await consumer.join()
            except FAILURES as error:
                raise explained(error, topic) from None
            yield consumer
        finally:
            await _stopped(client)

    async def partitions(self, topic: str) -> int:
        """See `EventBus`."""
        _check_topic(topic)
        try:
            async with asyncio.timeout(SECONDS):
                return len(await self._partitions(await self._started(), topic))
        except FAILURES as error:
            raise explained(error, topic) from None

    async def close(self) -> None:
        """Send no more."""
        if self._producer is not None:
            await _stopped(self._producer)

    async def _publish(self, topic: str, messages: Sequence[Message]) -> None:
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(SECONDS):
                producer = await self._started()
                numbers = sorted(await self._partitions(producer, topic))
                lanes = _by_partition(messages, numbers).items()
                sending = (_send(producer, topic, number, lane) for number, lane in lanes)
                for outcome in await asyncio.gather(*sending, return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        raise outcome
        except FAILURES as error:
            self._retire(producer)
            raise explained(error, topic) from None

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    acks="all",
                    enable_idempotence=self._cluster.is_idempotent,
                    max_batch_size=MAX_BATCH_BYTES,
                    max_request_size=MAX_MESSAGE_BYTES + MAX_BATCH_BYTES,
                    **self._options,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> set[int]:
        try:
            found: set[int] = await producer.partitions_for(topic)
        except UnknownTopicOrPartitionError:
            await self._make(topic)
            found = await producer.partitions_for(topic)
        if not found:
            raise UnknownTopicOrPartitionError
        return found

    async def _make(self, topic: str) -> None:
        """Where brokers make no topic on its first use."""
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await admin.start()
            new = NewTopic(topic, self._cluster.partitions, self._cluster.replication)
            answer = await admin.create_topics([new], timeout_ms=REQUEST_MS)
        finally:
            await admin.close()
        log.info("topic made", extra={"topic": topic, "answer": str(answer)[:300]})

    def _retire(self, producer: AIOKafkaProducer | None) -> None:
        """Never use again what failed: it may hold messages that are older than what comes next."""
        if producer is not None and producer is self._producer:
            self._producer = None
            self._tasks.create_task(_stopped(producer))


@asynccontextmanager
async def opened(cluster: Cluster) -> AsyncIterator[KafkaEventBus]:
    """The event bus in this cluster; it may be away.

    Raises:
        InvalidArgument: `EVENT_BUS_UNSUPPORTED`; what it is to be reached with does not fit.
    """
    _log_seldom()
    async with asyncio.TaskGroup() as tasks:
        bus = KafkaEventBus(cluster, tasks)
        try:
            yield bus
        finally:
            await bus.close()


async def _send(
    producer: AIOKafkaProducer, topic: str, partition: int, messages: Sequence[Message]
) -> None:
    """One batch after the other has arrived."""
    left = list(messages)
    while left:
        batch = producer.create_batch()
        count = 0
        while count < len(left) and _add(batch, left[count]):
            count += 1
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
        del left[:count]


def _add(batch: Any, message: Message) -> bool:
    headers = [(name, value.encode()) for name, value in message.headers.items()]
    added = batch.append(
        key=message.key.encode(), value=message.value, timestamp=None, headers=headers
    )
    return added is not None


def _by_partition(messages: Sequence[Message], numbers: Sequence[int]) -> dict[int, list[Message]]:
    lanes: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        lanes[_partition_of(message.key.encode(), numbers, numbers)].append(message)
    return lanes


def _check(message: Message) -> None:
    _check_topic(message.topic)
    size = len(message.value) + len(message.key.encode())
    size += sum(len(name.encode()) + len(text.encode()) for name, text in message.headers.items())
    if size > MAX_MESSAGE_BYTES:
        raise kafka_errors.too_large(message.topic)


def _check_topic(topic: str) -> None:
    if not _TOPIC.fullmatch(topic) or topic in {".", ".."}:
        raise kafka_errors.invalid_topic(topic)


async def servers_of(cluster: Cluster) -> int:
    """How many brokers answer there: asks, and leaves nothing behind.

    Raises:
        InvalidArgument: as `opened`.
        KafkaError, OSError: it cannot be reached, or refuses.
    """
    _log_seldom()
    client = AIOKafkaAdminClient(**_options(cluster))
    try:
        await client.start()
        return len((await client.describe_cluster())["brokers"])
    finally:
        await client.close()


def _options(cluster: Cluster) -> dict[str, Any]:
    options: dict[str, Any] = {
        "bootstrap_servers": list(cluster.servers),
        "client_id": "runplane",
        "request_timeout_ms": REQUEST_MS,
        "security_protocol": cluster.protocol,
    }
    if cluster.is_tls:
        try:
            options["ssl_context"] = ssl.create_default_context(cafile=cluster.ca_file)
        except (OSError, ssl.SSLError):
            raise unsupported("ca is not a file of certificates") from None
    if cluster.sasl:
        options["sasl_mechanism"] = cluster.sasl
        options["sasl_plain_username"] = cluster.username
        options["sasl_plain_password"] = str(cluster.password)
    return options


async def _stopped(client: Any) -> None:
    """Close it, within bounds: a producer waits for what it has under way.

    In a task of its own, for a consumer that is stopped while it waits to fetch again raises the
    cancellation of its own task, and leaves its connections open.
    """
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait([stopping], timeout=SECONDS)
    finally:
        if not stopping.done():
            stopping.cancel()
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    sender = getattr(client, "_sender", None)
    connections = getattr(client, "client", None) or getattr(client, "_client", None)
    closing = [each.close() for each in (sender, connections) if each is not None]
    await asyncio.wait([asyncio.ensure_future(each) for each in closing], timeout=SECONDS)


def _log_seldom() -> None:
    for name in _LOGGERS:
        logger = logging.getLogger(f"aiokafka.{name}".rstrip("."))
        if not any(isinstance(each, Seldom) for each in logger.filters):
            logger.addFilter(Seldom())
