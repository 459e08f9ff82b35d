"""Claims and letters on an event store. It rings when there are letters, and so does a hot store:
whichever is first."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from services.chassis.eventlog.port import MOST_LETTERS, Claim, EventStore, Letter
from services.chassis.hotstore.port import Entry, HotStore

KIND: Final = "task"
MOST_BYTES: Final = 8 * 1024 * 1024
"""No letter is taken where so many of its length would be more: every one that lies in an inbox is
read again each time that there is a new one."""

Wait = Callable[[], Awaitable[object]]


class EventStoreDesk:
    """See `Desk`. `at_desk` makes one."""

    def __init__(
        self,
        store: EventStore,
        hot: HotStore,
        *,
        owner: str,
        lease: timedelta,
        bell: asyncio.Event,
    ) -> None:
        self._store = store
        self._hot = hot
        self._owner = owner
        self._lease = lease
        self._bell = bell

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
        letter = body.encode()
        most = min(MOST_LETTERS * (1 + is_last), max(1, MOST_BYTES // (len(letter) or 1)))
        owner = await self._store.send(tenant, task_id, kind, letter, most=most)
        if owner:
            await self._hot.publish(_topic(owner), [Entry(0, b"")])
        return owner is not None

    async def letters(self, *, task_id: str = "", known: Collection[int] = ()) -> Sequence[Letter]:
        """See `Desk`."""
        return await self._store.letters(self._owner, stream_id=task_id, known=known)

    async def woken(self) -> None:
        """See `Desk`."""
        await self._bell.wait()
        self._bell.clear()


@asynccontextmanager
async def at_desk(
    store: EventStore, hot: HotStore, *, owner: str, lease: timedelta
) -> AsyncIterator[EventStoreDesk]:
    """A desk for this owner, which can be woken while the context is open."""
    bell = asyncio.Event()
    async with hot.subscribe(_topic(owner)) as wakes, asyncio.TaskGroup() as group:
        waits: tuple[Callable[[], Awaitable[object]], ...] = (
            wakes.next,
            partial(store.rung, owner),
        )
        ringing = [group.create_task(_ringing(bell, wait)) for wait in waits]
        try:
            yield EventStoreDesk(store, hot, owner=owner, lease=lease, bell=bell)
        finally:
            for each in ringing:
                each.cancel()


async def _ringing(bell: asyncio.Event, wait: Wait) -> None:
    """Ring each time that a wait is over, until cancelled."""
    while True:
        await wait()
        bell.set()


def _topic(owner: str) -> str:
    return f"worker/{owner}"
