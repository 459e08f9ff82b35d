"""Claims of workflows on an event store. Workers wake each other through a hot store; what that
loses, their heartbeats find."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from services.chassis.eventlog.port import Claim, EventStore
from services.chassis.hotstore.port import Entry, HotStore, Subscription
from services.workflow.adapters.workflowlog import KIND


class EventStoreDesk:
    """See `Desk`. `at_desk` makes one."""

    def __init__(
        self,
        store: EventStore,
        hot: HotStore,
        wakes: Subscription,
        *,
        owner: str,
        lease: timedelta,
    ) -> None:
        self.owner = owner
        self._store = store
        self._hot = hot
        self._wakes = wakes
        self._lease = lease

    async def find(self, limit: int) -> Sequence[Claim]:
        """See `Desk`."""
        return await self._store.claim(KIND, self.owner, limit=limit, lease=self._lease)

    async def renew(self) -> Sequence[Claim]:
        """See `Desk`."""
        return await self._store.renew(self.owner, lease=self._lease)

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `Desk`."""
        await self._store.release(claims)

    async def wake(self, claim: Claim) -> None:
        """See `Desk`."""
        name = f"{claim.tenant}\n{claim.stream_id}".encode()
        await self._hot.publish(_topic(claim.owner), [Entry(0, name)])

    async def woken(self) -> Sequence[tuple[str, str]]:
        """See `Desk`."""
        names = []
        for entry in await self._wakes.next():
            tenant, _, workflow_id = entry.body.decode().partition("\n")
            names.append((tenant, workflow_id))
        return names

    async def due_in(self) -> timedelta | None:
        """See `Desk`."""
        return await self._store.due_in(KIND)

    async def waiting(self) -> int:
        """See `Desk`."""
        return await self._store.waiting(KIND)


@asynccontextmanager
async def at_desk(
    store: EventStore, hot: HotStore, *, owner: str, lease: timedelta
) -> AsyncIterator[EventStoreDesk]:
    """A desk for this owner, which can be woken while the context is open."""
    async with hot.subscribe(_topic(owner)) as wakes:
        yield EventStoreDesk(store, hot, wakes, owner=owner, lease=lease)


def _topic(owner: str) -> str:
    return f"worker/{owner}"
