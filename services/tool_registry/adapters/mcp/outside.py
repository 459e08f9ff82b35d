"""How servers are reached."""

import asyncio
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from services.chassis.egress.client import Egress
from services.tool_registry.adapters.mcp.bounds import LARGE_AT_ONCE, Bounds
from services.tool_registry.domain.size import LARGE_BYTES
from services.tool_registry.ports import Secrets

_PAUSE_SECONDS: Final = 0.02
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Turns:
    """What large answers wait for."""

    large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))
    """To be read."""
    pause: asyncio.Lock = field(default_factory=asyncio.Lock)
    """To be parsed."""

    async def rest(self, message: bytes) -> None:
        """Before a large message is parsed, which nothing interrupts, others get their turn."""
        if len(message) > LARGE_BYTES:
            async with self.pause:
                await asyncio.sleep(_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Outside:
    """What there is outside of this process."""

    egress: Egress
    secrets: Secrets
    turns: Turns = field(default_factory=Turns)
    suite: str = ""
    """This suite's id: a server that says it has the same is this suite's own edge."""
    bounds: Bounds = Bounds()  # noqa: RUF009 - it is frozen

    async def check_url(self, url: str) -> None:
        """Refuse what is not called from here. Raises `TARGET_REFUSED`."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        await self.egress.resolve(parts.hostname or "", port)
