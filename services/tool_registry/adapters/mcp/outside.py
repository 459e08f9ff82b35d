"""How servers are reached."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from services.tool_registry.adapters.egress import Egress
from services.tool_registry.ports import Secrets

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Outside:
    """What there is outside of this process."""

    egress: Egress
    secrets: Secrets

    async def check_url(self, url: str) -> None:
        """Refuse what is not called from here. Raises `TARGET_REFUSED`."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        await self.egress.resolve(parts.hostname or "", port)
