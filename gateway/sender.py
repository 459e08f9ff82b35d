"""How a stream's messages get into writes: the first of a burst at once, what follows together.

A write costs as much as reading and transcoding its message. So no two writes are closer than
`GAP`; messages that are further apart than that go out the moment they come.
"""

import asyncio
from datetime import timedelta
from typing import Final

from gateway.exchange import Exchange
from gateway.sse import Framing

GAP: Final = 0.002
FULL: Final = 32 * 1024


class Sender:
    """Sends one stream. Holds at most `FULL` bytes and a message."""

    def __init__(self, exchange: Exchange, framing: Framing, tasks: asyncio.TaskGroup) -> None:
        self._exchange = exchange
        self._framing = framing
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._size = 0
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._written = self._loop.time()

    async def start(self) -> None:
        """Send the head, unless that is done."""
        if not self._exchange.has_started:
            await self._exchange.start(self._framing)

    async def add(self, frame: bytes) -> None:
        """Send a message now or within `GAP`. Waits while the client does not read."""
        self._frames.append(frame)
        self._size += len(frame)
        if self._size >= FULL or self._loop.time() >= self._next:
            await self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._next, self._flush_soon)

    async def flush(self) -> None:
        """Send what is held."""
        async with self._lock:
            if self._frames:
                await self._exchange.part(self._taken())
            self._next = self._loop.time() + GAP

    async def finish(self) -> None:
        """Send what is held, and the end."""
        await self.start()
        async with self._lock:
            await self._exchange.finish(self._taken())

    async def beat(self, every: timedelta) -> None:
        """Show on an idle stream that it lives. One without messages so far gets its head."""
        period = every.total_seconds()
        while True:
            await asyncio.sleep(self._written + period - self._loop.time())
            if self._loop.time() - self._written < period:
                continue
            await self.start()
            self._written = self._loop.time()
            if self._framing.heartbeat:
                await self.add(self._framing.heartbeat)

    def close(self) -> None:
        """Let go of what was not sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _taken(self) -> bytes:
        self.close()
        data = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        self._written = self._loop.time()
        return data

    def _flush_soon(self) -> None:
        self._timer = None
        self._tasks.create_task(self.flush())
