"""Owners that wait for letters, and how they hear that one came."""

import asyncio

from services.chassis.eventlog.port import Append, Claim


class Bells:
    """A bell for each owner that waits in this process, which is as a rule one."""

    def __init__(self) -> None:
        self._bells: dict[str, asyncio.Event] = {}

    async def rung(self, owner: str) -> None:
        """See `EventStore`. What rang since the wait before counts."""
        bell = self._bells.setdefault(owner, asyncio.Event())
        await bell.wait()
        bell.clear()

    def ring(self, owner: str | None) -> None:
        """Wake an owner if it waits here."""
        if owner and owner in self._bells:
            self._bells[owner].set()


def keeper(batch: Append, claim: Claim | None) -> str | None:
    """Whom shared work was left to, if to another than the one it was put for."""
    is_kept = claim is not None and batch.work is not None and claim.owner != batch.work.owner
    return claim.owner if claim is not None and is_kept else None
