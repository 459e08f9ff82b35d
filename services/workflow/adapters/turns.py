"""Whose turn it is, on an event store: a stream that has no events and is nothing but a claim."""

from datetime import timedelta
from typing import Final

from services.chassis.eventlog.port import Append, Claim, EventStore, Work

TENANT: Final = "-"  # It is about everybody's.


class EventStoreTurn:
    """See `Turn`."""

    def __init__(self, store: EventStore, kind: str, *, owner: str, lease: timedelta) -> None:
        """`owner` has no other claims. Each kind is a turn of its own."""
        self._store = store
        self._kind = kind
        self._owner = owner
        self._lease = lease
        self._claim: Claim | None = None

    async def is_ours(self) -> bool:
        """See `Turn`."""
        if self._claim is not None:
            renewed = await self._store.renew(self._owner, lease=self._lease)
            self._claim = renewed[0] if renewed else None
        if self._claim is None:
            work = Work(self._kind, self._owner, self._lease, is_shared=True)
            claim = await self._store.append(Append(TENANT, self._kind, 0, (), work=work))
            self._claim = claim if claim is not None and claim.owner == self._owner else None
        return self._claim is not None

    async def give_back(self) -> None:
        """See `Turn`."""
        if self._claim is not None:
            await self._store.release([self._claim])
            self._claim = None
