"""How servers are reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx2

from services.tool_registry.ports import Secrets

_PORTS: Final = {"http": 80, "https": 443}


class Egress(Protocol):
    """The way out."""

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Connections that go only where they may."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Addresses of a host that may be called. Raises `TARGET_REFUSED`."""


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
