"""Upstreams of every kind over real sockets: each is what it says to one request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from services.inference.domain.generation import Finished
from services.inference.domain.request import Message, Request
from services.inference.engines.openai_http import keys
from services.inference.engines.openai_http.dialect import DIALECTS
from services.inference.engines.openai_http.engine import OpenAIEngine
from services.inference.engines.openai_http.trusted import trusted
from services.inference.engines.openai_http.upstream import Bounds, Connect, Key, Upstream
from tests.integration.tool_registry.hosts import listening, said

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

KEY = "sk-very-secret-0123456789"
READ_KEY = keys.fixed(KEY)
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
BOUNDS = Bounds(
    connect=timedelta(seconds=1),
    silence=timedelta(milliseconds=300),
    start=timedelta(0),
    event_bytes=64 * 1024,
    answer_bytes=1024 * 1024,
)
HI = Request("upstream", (Message("user", "Hi"),))


def answer(
    body: bytes, status: str = "200 OK", kind: str = "application/json", **more: str
) -> bytes:
    """A whole HTTP answer."""
    fields = {"Content-Type": kind, "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def head(**more: str) -> bytes:
    """The head of a stream that ends when the connection does."""
    fields = {"Content-Type": "text/event-stream", "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    return (
        "HTTP/1.1 200 OK\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()) + "\r\n"
    ).encode()


def event(value: object) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(value)}\n\n".encode()


def delta(text: str | None = None, reason: str | None = None, **more: object) -> bytes:
    """A chunk of a chat completion."""
    said: dict[str, object] = {"content": text, **more}
    return event({"choices": [{"index": 0, "delta": said, "finish_reason": reason}]})


def usage(**counts: object) -> bytes:
    """The chunk behind the last that has the usage."""
    return event({"choices": [], "usage": counts or USAGE})


DONE = b"data: [DONE]\n\n"
WHOLE = (delta("Hello"), delta(" there"), delta(reason="stop"), usage(), DONE)


def saying(*parts: bytes) -> Speak:
    """An upstream that says this, and hangs up."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return speak


def streaming(*events: bytes, **more: str) -> Speak:
    """An upstream that streams these events, and hangs up."""
    return saying(head(**more), *events)


class Server:
    """Requests that came, and what is said to each."""

    def __init__(self, speak: Speak, *, lists_models: bool) -> None:
        self.speak = speak
        self._lists_models = lists_models
        self.asked: list[bytes] = []
        self.came = asyncio.Event()
        """A generation was asked for."""
        self.hung_up = asyncio.Event()
        """The other side closed a connection that was still being spoken to."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        request = await said(reader)
        self.asked.append(request)
        if self._lists_models and request.startswith(b"GET /v1/models"):
            writer.write(answer(b'{"data": [{"id": "big"}]}', Connection="close"))
            return
        self.came.set()
        try:
            await self.speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            self.hung_up.set()
            raise

    @property
    def body(self) -> dict[str, object]:
        """Of the last request."""
        found: dict[str, object] = json.loads(self.asked[-1].partition(b"\r\n\r\n")[2])
        return found


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing until the other side hangs up."""
    await reader.readexactly(1)


@asynccontextmanager
async def asking(
    speak: Speak,
    *,
    dialect: str = "openai",
    connect: Connect = trusted,
    key: Key = READ_KEY,
    lists_models: bool = True,
    **more: object,
) -> AsyncIterator[tuple[OpenAIEngine, Server]]:
    """An engine with two slots over an upstream that speaks so."""
    server = Server(speak, lists_models=lists_models)
    options: dict[str, object] = {"context_tokens": 1_000, "bounds": BOUNDS, **more}

    async with listening(server) as port:
        url = f"http://127.0.0.1:{port}/v1"
        upstream = Upstream("upstream", url, "big", DIALECTS[dialect], slots=2, queue=1, **options)
        engine = OpenAIEngine(upstream, connect, key)
        await engine.load()
        try:
            yield engine, server
        finally:
            await engine.close()


async def spoken(engine: OpenAIEngine, request: Request = HI) -> tuple[Sequence[str], Finished]:
    """What came of a request: texts, and the end."""
    generating = engine.generate(request, pace=timedelta(0))
    async with asyncio.timeout(10), aclosing(generating) as pieces:
        *texts, end = [piece async for piece in pieces]
    assert isinstance(end, Finished)
    return [*texts, end.text] if end.text else texts, end
