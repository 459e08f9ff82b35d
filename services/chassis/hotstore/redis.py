"""A hot store in Redis, or anything that speaks its protocol: replicas hear of each other.

Subscribers of the same process hear at once; those of others by `redis_posts.py`. While Redis is
away, everything else forgets. It heals by itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from services.chassis.errors import Violation, invalid
from services.chassis.hotstore.memory import MemoryHotStore, MemorySubscription
from services.chassis.hotstore.port import Entry
from services.chassis.hotstore.redis_posts import BEAT, FAILURES, SECONDS, Node, Posts

log = logging.getLogger(__name__)

COMMANDS: Final = 23  # At once; more wait. A cluster's client would refuse them.
CONNECTIONS: Final = COMMANDS + 2  # One that sends, and one that hears.
QUIET: Final = timedelta(seconds=5)  # Between two lines that say that it is away.
ENDING: Final = 0.05  # For tasks that were told to end; then their connections are closed.

_CLUSTER: Final = "redis+cluster://"
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

    def __init__(
        self, client: "Redis | RedisCluster", node: Node, now: Callable[[], datetime]
    ) -> None:
        """`node`: of the nodes that pass on what is published; another one each time."""
        self._client = client
        self._now = now
        self._local = MemoryHotStore()
        self.posts = Posts(node, self._local.publish, self._say_away)
        self._commands = asyncio.Semaphore(COMMANDS)
        self._said_at: datetime | None = None

    async def publish(self, topic: str, entries: Sequence[Entry]) -> None:
        """See `HotStore`."""
        if entries:
            await self._local.publish(topic, entries)
            self.posts.publish(topic, entries)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[MemorySubscription]:
        """See `HotStore`. What others publish is heard as soon as Redis knows of it."""
        with self.posts.wanted(topic):
            async with self._local.subscribe(topic) as subscription:
                yield subscription

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

    async def _asked(self, otherwise: Any, command: Callable[..., Any], *given: Any) -> Any:
        """What Redis says, or the other thing while it is away."""
        try:
            async with asyncio.timeout(SECONDS), self._commands:
                return await command(*given)
        except FAILURES as error:
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
        "socket_timeout": SECONDS + BEAT,
        "socket_connect_timeout": SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        client, node = _connected(url, options)
    except (TypeError, ValueError, RedisError, RedisClusterException):  # They may quote the URL.
        fix = "use memory:, redis://HOST:6379 or redis+cluster://HOST:6379"
        violation = Violation("RUNPLANE_HOT_STORE", "is not the URL of a Redis", fix)
        raise invalid(violation, reason="HOT_STORE_UNSUPPORTED") from None
    store = RedisHotStore(client, node, now)
    try:
        await store.get("")  # A cluster's client has to be alone when it asks for the first time.
        async with asyncio.TaskGroup() as group:
            posts = store.posts
            tasks = [group.create_task(posts.send_all()), group.create_task(posts.hear_all())]
            try:
                yield store
            finally:
                posts.end()
                await _ended(tasks, client)
    finally:
        await client.aclose()


def _connected(url: str, options: Mapping[str, Any]) -> "tuple[Redis | RedisCluster, Node]":
    if url.startswith(_CLUSTER):
        plain = url.replace(_CLUSTER, "redis://", 1)
        cluster = RedisCluster.from_url(plain, **options)
        return cluster, _Nodes(cluster)
    pool = BlockingConnectionPool.from_url(
        url, max_connections=CONNECTIONS, timeout=SECONDS, **options
    )
    pool.make_connection()  # type: ignore[no-untyped-call] # It knows all options.
    client = Redis.from_pool(pool)
    return client, lambda: nullcontext(client)


class _Nodes:
    """The nodes of a cluster, one after the other: what is published at one is heard at each."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self._turns = count()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Redis]:
        """Connects as the cluster's own client does: by TLS, as this user, and so on."""
        nodes = self._cluster.get_nodes() or self._cluster.startup_nodes  # It may be away.
        node = nodes[next(self._turns) % len(nodes)]
        pool = ConnectionPool(node.connection_class, **node.connection_kwargs)
        async with Redis.from_pool(pool) as client:
            yield client


async def _ended(tasks: Sequence["asyncio.Task[None]"], client: "Redis | RedisCluster") -> None:
    """Wait until they end, or cancel them. A cancellation that comes while the client connects is
    lost in it; what then waits for news has none coming once its connection is closed."""
    _, running = await asyncio.wait(tasks, timeout=ENDING)
    for task in running:
        task.cancel()
    while running:
        await client.aclose()
        _, running = await asyncio.wait(running, timeout=ENDING)


def _key(key: str) -> str:
    return f"runplane:value:{key}"


def _micros(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)
