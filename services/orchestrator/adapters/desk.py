"""Claims and letters on an event store, with wake-ups through a hot store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from services.chassis.eventlog.port import MOST_LETTERS, Claim, EventStore, Letter
from services.chassis.hotstore.port import Entry, HotStore, Subscription

KIND: Final = "task"


class EventStoreDesk:
    """See `Desk`. `at_desk` makes one."""

    def __init__(
        self,
        store: EventStore,
        hot: HotStore,
        *,
        owner: str,
        lease: timedelta,
        wakes: Subscription,
    ) -> None:
        self._store = store
        self._hot = hot
        self._owner = owner
        self._lease = lease
        self._wakes = wakes

    async def find(self, limit: int) -> Sequence[Claim]:
        """See `Desk`."""
        return await self._store.claim(KIND, self._owner, limit=limit, lease=self._lease)

    async def take(self, tenant: str, task_id: str) -> Claim | None:
        """See `Desk`."""
        return await self._store.take(tenant, task_id, self._owner, lease=self._lease)

    async def renew(self) -> Sequence[Claim]:
        """See `Desk`."""
        return await self._store.renew(self._owner, lease=self._lease)

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `Desk`."""
        await self._store.release(claims)

    async def send(
        self, tenant: str, task_id: str, kind: str, body: str, *, is_last: bool = False
    ) -> bool:
        """See `Desk`."""
        most = MOST_LETTERS * (1 + is_last)
        owner = await self._store.send(tenant, task_id, kind, body.encode(), most=most)
        if owner:
            await self._hot.publish(_topic(owner), [Entry(0, b"")])
        return owner is not None

    async def letters(self) -> Sequence[Letter]:
        """See `Desk`."""
        return await self._store.letters(self._owner)

    async def woken(self) -> None:
        """See `Desk`."""
        await self._wakes.next()


@asynccontextmanager
async def at_desk(
    store: EventStore, hot: HotStore, *, owner: str, lease: timedelta
) -> AsyncIterator[EventStoreDesk]:
    """A desk for this owner, which can be woken while the context is open."""
    async with hot.subscribe(_topic(owner)) as wakes:
        yield EventStoreDesk(store, hot, owner=owner, lease=lease, wakes=wakes)


def _topic(owner: str) -> str:
    return f"worker/{owner}"
