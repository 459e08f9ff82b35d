"""Entries on their way between processes, by Redis's PUBLISH: a process hears of the topics that
somebody in it is subscribed to, and of no others, so that what one process does costs none of the
others that nobody asks about it.

Nobody waits for Redis: while it is away, what is published is lost to others, and so is what is
published before it has been told of a subscription. It heals by itself.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisClusterException, RedisError

from services.chassis.hotstore.port import Entry

SECONDS: Final = 2.0  # For a command; then Redis counts as away.
PAUSE: Final = 1.0  # Before it is tried again.
BEAT: Final = 1.0  # Without a word; then it is asked whether it is there.
TICK: Final = 0.002  # Subscriptions that come and go within it are none of Redis's business.
WAITING: Final = 10_000  # Messages that have not gone out yet; then the oldest are lost.
BATCH: Final = 512
# A cluster's client closes connections that others are just opening: an AttributeError of its own.
FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError, AttributeError)

_CHANNEL: Final = b"runplane:live:"
_ORIGIN_BYTES: Final = 8
_HEAD_BYTES: Final = 12  # Of an entry: its sequence, and how long its body is.

Deliver = Callable[[str, Sequence[Entry]], Awaitable[None]]
Node = Callable[[], AbstractAsyncContextManager[Redis]]


class Posts:
    """What is published here and heard here. `send_all` and `hear_all` have to run."""

    def __init__(
        self,
        node: Node,
        deliver: Deliver,
        say_away: Callable[[Exception], None],
    ) -> None:
        """`node` gives a client of a node: of another one each time, if there are several."""
        self._node = node
        self._deliver = deliver
        self._say_away = say_away
        self._origin = secrets.token_bytes(_ORIGIN_BYTES)
        self._going_out: deque[tuple[bytes, bytes]] = deque(maxlen=WAITING)
        self._has_some = asyncio.Event()
        self._wanted: Counter[str] = Counter()
        """Subscribers here, by topic."""
        self._asked: set[str] = set()
        """Topics that Redis was told of."""
        self._changed: set[str] = set()
        self._has_changed = asyncio.Event()
        self._is_over = False

    def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """Send entries out, soon."""
        self._going_out.append((_channel(topic), _packed(self._origin, entries)))
        self._has_some.set()

    @contextmanager
    def wanted(self, topic: str) -> Iterator[None]:
        """Hear of a topic, from soon on until the context is left."""
        self._wanted[topic] += 1
        self._say_changed(topic)
        try:
            yield
        finally:
            self._wanted[topic] -= 1
            if not self._wanted[topic]:
                del self._wanted[topic]
                self._say_changed(topic)

    def end(self) -> None:
        """Have both tasks end by themselves: where Redis answers, they do so at once. To cancel
        them while they connect would leave the connection open."""
        self._is_over = True
        self._has_some.set()
        self._has_changed.set()

    async def send_all(self) -> None:
        """Send what is published, until the end."""
        while not self._is_ending():
            async with self._node() as node:
                await self._send(node)

    async def hear_all(self) -> None:
        """Pass on what others publish, until the end."""
        while not self._is_ending():
            self._ask_anew()
            failed: Exception | None = None
            try:
                async with (
                    self._node() as node,
                    node.pubsub() as pubsub,
                    asyncio.TaskGroup() as group,
                ):
                    await pubsub.subscribe(_CHANNEL)  # Opens the connection; nothing comes there.
                    asking = group.create_task(self._ask(pubsub))
                    await self._hear(pubsub)
                    asking.cancel()
            except* FAILURES as errors:
                failed = _first(errors)
            if failed is not None and not self._is_ending():
                self._say_away(failed)
                await asyncio.sleep(PAUSE)

    async def _send(self, node: Redis) -> None:
        """As long as it takes it."""
        while not self._is_ending():
            await self._has_some.wait()
            batch = [self._going_out.popleft() for _ in range(min(len(self._going_out), BATCH))]
            try:
                async with asyncio.timeout(SECONDS):
                    pipeline = node.pipeline(transaction=False)
                    for channel, message in batch:
                        pipeline.publish(channel, message)
                    await pipeline.execute()  # Of nothing: nothing.
            except FAILURES as error:
                self._going_out.clear()  # Lost too, as the port allows: it would come late.
                if not self._is_ending():
                    self._say_away(error)
                    await asyncio.sleep(PAUSE)
                return
            finally:
                if not self._going_out and not self._is_over:
                    self._has_some.clear()

    async def _ask(self, pubsub: PubSub) -> None:
        """Tell Redis what is wanted here, whenever that changes."""
        while True:
            await self._has_changed.wait()
            await asyncio.sleep(TICK)
            self._has_changed.clear()
            if self._is_over:  # What Redis says to this is the last that is heard.
                await pubsub.unsubscribe(_CHANNEL)
                return
            changed, self._changed = self._changed, set()
            new = [each for each in changed if each in self._wanted and each not in self._asked]
            gone = [each for each in changed if each not in self._wanted and each in self._asked]
            self._asked.update(new)
            self._asked.difference_update(gone)
            for topics in _parted(new):
                await pubsub.subscribe(*map(_channel, topics))
            for topics in _parted(gone):
                await pubsub.unsubscribe(*map(_channel, topics))

    async def _hear(self, pubsub: PubSub) -> None:
        is_asked = False
        while not _is_cancelled():
            message: Any = await pubsub.get_message(timeout=BEAT)
            if message is None:
                if is_asked:
                    raise TimeoutError("it does not answer")
                is_asked = True
                await pubsub.ping()
                continue
            is_asked = False
            if message["type"] == "message":
                await self._heard(message["channel"], message["data"])
            elif self._is_over:
                return

    async def _heard(self, channel: bytes, message: bytes) -> None:
        if message[:_ORIGIN_BYTES] != self._origin:  # Subscribers here have heard their own.
            topic = channel.removeprefix(_CHANNEL).decode()
            await self._deliver(topic, _unpacked(message))

    def _ask_anew(self) -> None:
        self._asked, self._changed = set(), set(self._wanted)
        self._has_changed.set()

    def _say_changed(self, topic: str) -> None:
        self._changed.add(topic)
        self._has_changed.set()

    def _is_ending(self) -> bool:
        return self._is_over or _is_cancelled()


def _is_cancelled() -> bool:
    """Whether to stop. The client may make an error of its own of a cancellation, or nothing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _channel(topic: str) -> bytes:
    return _CHANNEL + topic.encode()


def _packed(origin: bytes, entries: Sequence[Entry]) -> bytes:
    parts = [origin]
    for entry in entries:
        parts += (entry.sequence.to_bytes(8), len(entry.body).to_bytes(4), entry.body)
    return b"".join(parts)


def _unpacked(message: bytes) -> list[Entry]:
    entries, at = [], _ORIGIN_BYTES
    while at < len(message):
        begin = at + _HEAD_BYTES
        sequence, length = int.from_bytes(message[at : at + 8]), message[at + 8 : begin]
        at = begin + int.from_bytes(length)
        entries.append(Entry(sequence, message[begin:at]))
    return entries


def _parted(topics: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(topics), BATCH):
        yield topics[start : start + BATCH]


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
