"""Claims of batches, and their inboxes, on an event store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.chassis.eventlog.port import Claim, EventStore, Letter
from services.inference.adapters.batchlog import KIND

CANCEL: Final = "cancel"


@dataclass(frozen=True, slots=True)
class EventStoreBatchDesk:
    """See `BatchDesk`."""

    store: EventStore
    owner: str
    lease: timedelta

    async def find(self, limit: int) -> Sequence[Claim]:
        """See `BatchDesk`."""
        return await self.store.claim(KIND, self.owner, limit=limit, lease=self.lease)

    async def renew(self) -> Sequence[Claim]:
        """See `BatchDesk`."""
        return await self.store.renew(self.owner, lease=self.lease)

    async def release(self, claims: Sequence[Claim]) -> None:
        """See `BatchDesk`."""
        await self.store.release(claims)

    async def ask_to_cancel(self, tenant: str, batch_id: str, reason: str) -> bool:
        """See `BatchDesk`."""
        body = reason.encode()
        return await self.store.send(tenant, batch_id, CANCEL, body) is not None

    async def letters(self) -> Sequence[Letter]:
        """See `BatchDesk`."""
        return await self.store.letters(self.owner)

    async def rung(self) -> None:
        """See `BatchDesk`."""
        await self.store.rung(self.owner)
