"""A target of HTTP tools that counts what it did, by idempotency key, and fails as it is told."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

LATE_SECONDS = 3.0
SLOW_SECONDS = 0.2
UNPROCESSABLE, UNAVAILABLE = (422, "Unprocessable Content"), (503, "Service Unavailable")


@dataclass(frozen=True)
class Effect:
    """Something that was done, once."""

    order: str
    step: int
    is_undo: bool


@dataclass
class Counting:
    """`POST /` does `{"order", "step", "undo", "fate"}`, where the fate says how it goes:

    `ok`; `slow`: after a while; `late`: done, but answered when nobody waits any more; `away`: the
    first call is told to come again; `refuse`: not done, and said so; `cut`: hung up on before it
    is done, the first time; `mute`: done, and hung up on, the first time.
    """

    port: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    """By key."""
    effects: dict[str, Effect] = field(default_factory=dict)
    """By key: what came again with the same key was not done again."""
    refused: dict[str, Effect] = field(default_factory=dict)
    """What it refused to do."""
    is_mended: bool = False
    """Whether it refuses nothing any more."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while asked := await _request(reader):
                    answer = await self._answer(*asked)
                    if answer is None:
                        break
                    writer.write(answer)
                    await writer.drain()
        finally:
            writer.transport.abort()

    async def _answer(self, key: str, asked: Mapping[str, Any]) -> bytes | None:
        """What is answered; None: nothing, and the connection ends."""
        self.calls[key] += 1
        is_first, fate = self.calls[key] == 1, asked["fate"]
        effect = Effect(asked["order"], int(asked["step"]), bool(asked.get("undo")))
        if fate == "refuse" and not self.is_mended:
            self.refused[key] = effect
            return _response({"why": "it was told to"}, UNPROCESSABLE)
        if fate == "away" and is_first:
            return _response({}, UNAVAILABLE)
        if fate == "cut" and is_first:
            return None
        if fate == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        assert self.effects.setdefault(key, effect) == effect
        if fate == "late":
            await asyncio.sleep(LATE_SECONDS)
        if fate == "mute" and is_first:
            return None
        return _response({"key": key})


async def _request(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, Any]] | None:
    """The idempotency key and the body; None at the end."""
    if not await reader.readline():
        return None
    headers: dict[str, str] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    return headers["idempotency-key"], body


def _response(value: Mapping[str, Any], status: tuple[int, str] = (200, "OK")) -> bytes:
    content = json.dumps(value).encode()
    head = f"HTTP/1.1 {status[0]} {status[1]}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


@asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    """One that listens."""
    running = Counting()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(running.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
