"""How servers are reached."""

import asyncio
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from services.tool_registry.adapters.egress import Egress
from services.tool_registry.adapters.mcp.bounds import LARGE_AT_ONCE
from services.tool_registry.ports import Secrets

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Outside:
    """What there is outside of this process."""

    egress: Egress
    secrets: Secrets
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))
    """For whoever reads a large answer."""

    async def check_url(self, url: str) -> None:
        """Refuse what is not called from here. Raises `TARGET_REFUSED`."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        await self.egress.resolve(parts.hostname or "", port)
