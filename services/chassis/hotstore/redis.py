"""A hot store in Redis, or anything that speaks its protocol: replicas hear of each other.

What is published goes to a few bounded streams; each process reads all of them and passes on what
its own subscribers asked for. Subscribers of the same process hear at once. Nobody waits for Redis
to publish: while it is away, what is published is lost to others, as the port allows, and
everything else forgets. It heals by itself.
"""

import asyncio
import logging
import secrets
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from services.chassis.errors import Violation, invalid
from services.chassis.hotstore.memory import MemoryHotStore, MemorySubscription
from services.chassis.hotstore.port import Entry

log = logging.getLogger(__name__)

SHARDS: Final = 8
COMMANDS: Final = 23  # At once; more wait. A cluster's client would refuse them.
CONNECTIONS: Final = SHARDS + COMMANDS + 1  # A reader for each shard, and one that sends.
KEPT: Final = 4_000  # Entries of a stream, about: a reader that is slower misses some.
WAITING: Final = 10_000  # Entries that have not gone out yet; then the oldest are lost.
BATCH: Final = 512
BLOCK_MS: Final = 1_000
SECONDS: Final = 2.0  # For a command; then Redis counts as away.
PAUSE: Final = 1.0  # Before it is tried again.
QUIET: Final = timedelta(seconds=5)  # Between two lines that say that it is away.
ENDING: Final = 0.05  # For readers that were told to end; then their connections are closed.
# A cluster's client closes connections that others are just opening: an AttributeError of its own.
_FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError, AttributeError)

# A value is its expiry in microseconds, 8 bytes, and the value. The store's own expiry cleans up.
# KEYS: key; ARGV: now, amount, ttl. Adds to a counter that is kept as `expiry:count`.
_ADD: Final = """
local held = redis.call('get', KEYS[1])
local expiry, count = tonumber(ARGV[1]) + tonumber(ARGV[3]), 0
if held then
  local e, c = string.match(held, '^(%d+):(-?%d+)$')
  if e and tonumber(e) > tonumber(ARGV[1]) then expiry, count = tonumber(e), tonumber(c) end
end
count = count + tonumber(ARGV[2])
local ms = math.max(1, math.ceil((expiry - tonumber(ARGV[1])) / 1000))
redis.call('set', KEYS[1], string.format('%.0f:%.0f', expiry, count), 'PX', ms)
return count
"""


class RedisHotStore:
    """See `HotStore`. `opened` makes one."""

    def __init__(self, client: "Redis | RedisCluster", now: Callable[[], datetime]) -> None:
        self._client = client
        self._now = now
        self._local = MemoryHotStore()
        self._origin = secrets.token_bytes(8)
        self._going_out: deque[tuple[str, Entry]] = deque(maxlen=WAITING)
        self._has_some = asyncio.Event()
        self._commands = asyncio.Semaphore(COMMANDS)
        self._said_at: datetime | None = None
        self._is_settled = asyncio.Event()
        self._is_settled.set()

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """See `HotStore`."""
        if not entries:
            return
        await self._local.publish(topic, entries)
        self._going_out.extend((topic, entry) for entry in entries)
        self._is_settled.clear()
        self._has_some.set()

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[MemorySubscription]:
        """See `HotStore`."""
        return self._local.subscribe(topic)

    async def get(self, key: str) -> bytes | None:
        """See `HotStore`."""
        held = await self._asked(None, self._client.get, _key(key))
        if held is None or int.from_bytes(held[:8]) <= _micros(self._now()):
            return None
        return bytes(held[8:])

    async def set(self, key: str, value: bytes, *, ttl: timedelta) -> None:
        """See `HotStore`."""
        expiry = _micros(self._now() + ttl).to_bytes(8)
        milliseconds = max(1, ttl // timedelta(milliseconds=1))
        setting = partial(self._client.set, px=milliseconds)
        await self._asked(None, setting, _key(key), expiry + value)

    async def delete(self, key: str) -> None:
        """See `HotStore`."""
        await self._asked(0, self._client.delete, _key(key))

    async def add(self, key: str, amount: int, *, ttl: timedelta) -> int:
        """See `HotStore`. Counts for this process alone while Redis is away."""
        now, length = _micros(self._now()), ttl // timedelta(microseconds=1)
        adding = (_ADD, 1, _key(key), now, amount, length)
        counted = await self._asked(None, self._client.eval, *adding)
        return await self._local.add(key, amount, ttl=ttl) if counted is None else int(counted)

    async def settled(self) -> None:
        """Wait until what was published has gone out, or was given up."""
        await self._is_settled.wait()

    async def send_all(self) -> None:
        """Send what is published, until cancelled."""
        while not _is_cancelled():
            await self._has_some.wait()
            self._has_some.clear()
            while self._going_out and not _is_cancelled():
                count = min(len(self._going_out), BATCH)
                await self._send([self._going_out.popleft() for _ in range(count)])
            self._is_settled.set()

    async def receive_all(self, shard: int, last: bytes | str) -> None:
        """Pass on what others publish on a shard after the entry `last`, until cancelled."""
        key = _stream(shard)
        while not _is_cancelled():
            try:
                found: Any = await self._client.xread({key: last}, count=BATCH, block=BLOCK_MS)
            except _FAILURES as error:
                if _is_cancelled():
                    return
                self._say_away(error)
                await asyncio.sleep(PAUSE)
                continue
            for messages in _by_stream(found):
                last = await self._passed_on(messages) or last

    async def last(self, shard: int) -> bytes | str:
        """The newest entry of a shard's stream; what comes after it is new."""
        reading = partial(self._client.xrevrange, count=1)
        found = await self._asked(None, reading, _stream(shard))
        return found[0][0] if found else "0-0"

    async def _send(self, batch: Sequence[tuple[str, Entry]]) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                pipeline = self._client.pipeline(transaction=False)
                for topic, entry in batch:
                    fields: Any = {"o": self._origin, "t": topic, "s": entry.sequence}
                    fields["b"] = entry.body
                    pipeline.xadd(_stream(_shard(topic)), fields, maxlen=KEPT, approximate=True)
                await pipeline.execute()
        except _FAILURES as error:
            if not _is_cancelled():
                self._say_away(error)
                await asyncio.sleep(PAUSE)

    async def _passed_on(self, messages: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> bytes:
        """The id of the last one."""
        others = [fields for _, fields in messages if fields[b"o"] != self._origin]
        for topic, group in groupby(others, key=lambda fields: fields[b"t"]):
            entries = [Entry(int(fields[b"s"]), fields[b"b"]) for fields in group]
            await self._local.publish(topic.decode(), entries)
        return messages[-1][0] if messages else b""

    async def _asked(self, otherwise: Any, command: Callable[..., Any], *given: Any) -> Any:
        """What Redis says, or the other thing while it is away."""
        try:
            async with asyncio.timeout(SECONDS), self._commands:
                return await command(*given)
        except _FAILURES as error:
            self._say_away(error)
            return otherwise

    def _say_away(self, error: Exception) -> None:
        """Once in a while: those who ask ask often, and each of them would say it."""
        now = self._now()
        if self._said_at is None or now - self._said_at > QUIET:
            self._said_at = now
            log.warning("hot store is away", extra={"cause": type(error).__name__})


@asynccontextmanager
async def opened(url: str, *, now: Callable[[], datetime]) -> AsyncIterator[RedisHotStore]:
    """The hot store at `redis://…`, `rediss://…` or `redis+cluster://…`; it may be away.

    Raises:
        InvalidArgument: `HOT_STORE_UNSUPPORTED`; the URL is none.
    """
    options: dict[str, Any] = {
        "socket_timeout": SECONDS + BLOCK_MS / 1000,
        "socket_connect_timeout": SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        if url.startswith("redis+cluster://"):
            plain = url.replace("redis+cluster://", "redis://", 1)
            client: Redis | RedisCluster = RedisCluster.from_url(plain, **options)
        else:
            pool = BlockingConnectionPool.from_url(
                url, max_connections=CONNECTIONS, timeout=SECONDS, **options
            )
            pool.make_connection()  # type: ignore[no-untyped-call] # It knows all options.
            client = Redis.from_pool(pool)
    except (TypeError, ValueError, RedisError, RedisClusterException):  # They may quote the URL.
        fix = "use memory:, redis://HOST:6379 or redis+cluster://HOST:6379"
        violation = Violation("RUNPLANE_HOT_STORE", "is not the URL of a Redis", fix)
        raise invalid(violation, reason="HOT_STORE_UNSUPPORTED") from None
    store = RedisHotStore(client, now)
    try:
        lasts = [await store.last(shard) for shard in range(SHARDS)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.send_all())]
            for shard, last in enumerate(lasts):
                tasks.append(group.create_task(store.receive_all(shard, last)))
            try:
                yield store
            finally:
                await _ended(tasks, client)
    finally:
        await client.aclose()


async def _ended(tasks: Sequence["asyncio.Task[None]"], client: "Redis | RedisCluster") -> None:
    """Cancel them. A cancellation that comes while the client connects is lost in it; what then
    waits for news has none coming once its connection is closed. To cancel again would leak it."""
    for task in tasks:
        task.cancel()
    _, running = await asyncio.wait(tasks, timeout=ENDING)
    while running:
        await client.aclose()
        _, running = await asyncio.wait(running, timeout=ENDING)


def _shard(topic: str) -> int:
    return zlib.crc32(topic.encode()) % SHARDS


def _stream(shard: int) -> str:
    return f"runplane:live:{shard}"


def _key(key: str) -> str:
    return f"runplane:value:{key}"


def _micros(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)


def _by_stream(found: Any) -> list[Any]:
    """The messages of each stream: RESP2 has pairs, RESP3 a map with one more list around them."""
    if isinstance(found, dict):
        return [each for pages in found.values() for each in pages]
    return [messages for _, messages in found or ()]


def _is_cancelled() -> bool:
    """Whether to stop. The client may make an error of its own of a cancellation, or nothing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
