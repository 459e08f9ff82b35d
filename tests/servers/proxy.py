"""A TCP proxy that cuts, swallows and delays, to stand between a service and a server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 64 * 1024


@dataclass
class Proxy:
    """Passes bytes on to a port of this machine, as long as it is told to."""

    target: int
    port: int = 0
    delay_seconds: float = 0.0
    """How late each piece arrives."""
    _is_open: asyncio.Event = field(default_factory=asyncio.Event)
    _is_refusing: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    connections: int = 0
    """How many there have been."""

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self) -> None:
        """Break every connection, and each new one."""
        self._is_refusing = True
        self.cut()

    def swallow(self) -> None:
        """Keep connections, and what comes through them, until `resume`: a black hole."""
        self._is_open.clear()

    def resume(self) -> None:
        """Pass on again."""
        self._is_refusing = False
        self._is_open.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways."""
        self.connections += 1
        if self._is_refusing:
            writer.transport.abort()
            return
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            pair = {writer, far_writer}
            self._writers |= pair
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, far_writer))
                    group.create_task(self._pass(far_reader, writer))
            finally:
                self._writers -= pair
                for each in pair:
                    each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(CHUNK_BYTES):
                await self._is_open.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxy(target: int = 0) -> AsyncIterator[Proxy]:
    """A proxy that passes everything on. `target` may be set before the first connection."""
    running = Proxy(target)
    running.resume()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(running.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        running.refuse()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
