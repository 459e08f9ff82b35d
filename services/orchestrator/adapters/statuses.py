"""Tasks that have ended, as they go over the wire, in a hot store: they are asked for again and
again, and never change. What it forgets is read from their logs."""

from datetime import timedelta
from typing import Final

from services.chassis.hotstore.port import HotStore

TTL: Final = timedelta(minutes=10)
MOST_BYTES: Final = 64 * 1024
_MOST_ID: Final = 64


class HotStatuses:
    """See `Statuses`."""

    def __init__(self, hot: HotStore) -> None:
        self._hot = hot

    async def find(self, tenant: str, task_id: str) -> bytes | None:
        """See `Statuses`."""
        if len(task_id) > _MOST_ID:
            return None
        return await self._hot.get(_key(tenant, task_id))

    async def keep(self, tenant: str, task_id: str, body: bytes) -> None:
        """See `Statuses`."""
        if len(body) <= MOST_BYTES:
            await self._hot.set(_key(tenant, task_id), body, ttl=TTL)


def _key(tenant: str, task_id: str) -> str:
    """No two tenants' keys are one, whatever is in their names."""
    return f"status/{len(tenant)}/{tenant}/{task_id}"
