"""Connections that are looked at once a second, and ended when they do not get on with it."""

import asyncio
from abc import ABC, abstractmethod

from gateway.settings import LimitSettings


class Swept(ABC):
    """A connection, HTTP or WebSocket."""

    limits: LimitSettings
    transport: asyncio.Transport
    head_since: float | None = None
    """Since when it owes the rest of a head; None when it owes none."""
    _is_leaving = False
    _stalled_since: float | None = None

    @property
    @abstractmethod
    def is_stalled(self) -> bool:
        """Whether the client does not read what was written for it."""

    @property
    def _head_seconds(self) -> float:
        return self.limits.head_timeout.total_seconds()

    def sweep(self, now: float) -> None:
        """End it if it is time."""
        transport = self.transport
        if transport.is_closing():
            if self._is_leaving:  # Since the last sweep at least: it does not read our answer.
                transport.abort()
            self._is_leaving = True
        elif self.is_stalled:
            self._stalled_since = self._stalled_since or now
            if now - self._stalled_since > self.limits.stall_timeout.total_seconds():
                transport.abort()
            return
        elif self.head_since is not None and now - self.head_since > self._head_seconds:
            transport.close()
        self._stalled_since = None
