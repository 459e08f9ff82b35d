"""How fast a server may talk."""

import asyncio

from services.tool_registry.adapters.mcp.bounds import MESSAGES_A_SECOND


class Pace:
    """Lets one server's messages come no faster than they may: it waits, and nobody else does."""

    def __init__(self, a_second: int = MESSAGES_A_SECOND) -> None:
        self._most = a_second
        self._began = 0.0
        self._count = 0

    async def step(self) -> None:
        """One more message."""
        now = asyncio.get_running_loop().time()
        if now - self._began >= 1:
            self._began, self._count = now, 0
        self._count += 1
        if self._count > self._most:
            await asyncio.sleep(self._began + 1 - now)
