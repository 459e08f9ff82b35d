"""How many tools tenants have."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.chassis.errors import ResourceExhausted
from services.chassis.lately import Lately
from services.tool_registry.ports import ToolStore

_TTL_SECONDS: Final = 10.0
_TENANTS: Final = 10_000


@dataclass(slots=True)
class _Count:
    tools: int
    counted_at: float


class Census:
    """Counts a tenant's tools now and then, and what is registered here in between. What other
    processes register meanwhile is seen at the next count: the limit may be passed by as much."""

    def __init__(
        self, store: ToolStore, most: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self.most = most
        self._clock = clock
        self._counts: Lately[str, _Count] = Lately(_TENANTS)

    async def check_room(self, tenant: str, more: int = 1) -> None:
        """Refuse more tools than there may be. Raises ResourceExhausted `TOO_MANY_TOOLS`."""
        if more <= 0:
            return
        count = self._counts.get(tenant)
        if count is None or self._clock() - count.counted_at >= _TTL_SECONDS:
            tools = len(await self._store.names(tenant, limit=self.most + 1))
            count = self._counts.put(tenant, _Count(tools, self._clock()))
        if count.tools + more > self.most:
            raise ResourceExhausted(
                "TOO_MANY_TOOLS",
                f"there would be {count.tools + more} tools; at most {self.most} are allowed",
                most=str(self.most),
                suggested_fix="delete tools that nobody uses",
            )

    def changed(self, tenant: str, by: int) -> None:
        """So many more tools are there now, or fewer."""
        if (count := self._counts.get(tenant)) is not None:
            count.tools += by
