"""How likely labels are, by a llama.cpp elsewhere: the same walk as in this process, over HTTP."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import aclosing, suppress

from services.inference.domain.request import JSON, Message, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines.llamacpp.label_tokens import LabelTokens
from services.inference.engines.llamacpp.walk import Walk
from services.inference.engines.openai_http import tokens
from services.inference.engines.openai_http.answer import DONE, parsed
from services.inference.engines.openai_http.events import Events
from services.inference.engines.openai_http.upstream import Upstream
from services.inference.engines.openai_http.wire import Wire


class LlamacppScores:
    """Scores labels token by token; what labels share, once."""

    def __init__(self, wire: Wire, upstream: Upstream) -> None:
        self._wire = wire
        self._upstream = upstream
        self._labels = LabelTokens(self)
        # One for each slot. The loop's own would wait here for what needs one of them, such as a
        # key that is read.
        self._threads = ThreadPoolExecutor(upstream.slots, thread_name_prefix="scores")

    async def rendered(self, messages: Sequence[Message], prefix: str = "") -> str:
        """See `Tokenizer`."""
        request = Request(self._upstream.model, tuple(messages), prefix=prefix)
        return await tokens.rendered(self._wire, self._upstream, request)

    async def tokens(self, text: str, *, is_whole: bool = False) -> list[int]:
        """See `Tokenizer`."""
        return await tokens.tokenized(self._wire, text, is_whole=is_whole)

    async def scored(self, scoring: Scoring, window: int, queue_ms: float) -> Scored:
        """See `Scores`."""
        walk = await self._labels.walk(scoring.messages, scoring.labels, window)
        await self._go(walk)
        return Scored(walk.found, walk.usage, queue_ms)

    async def _go(self, walk: Walk) -> None:
        """Go along it, in a thread. Being cancelled, this stops it and waits for it."""
        remote = _Remote(self._wire, self._upstream)
        walking = asyncio.get_running_loop().run_in_executor(self._threads, walk.run, remote)
        try:
            await asyncio.shield(walking)
        finally:
            walk.is_closed = True
            remote.close()
            await asyncio.wait((walking,))


class _Remote:
    """llama.cpp as the walk knows it. Its methods block a thread; the loop does the work."""

    def __init__(self, wire: Wire, upstream: Upstream) -> None:
        self._wire = wire
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._asking: Future[None] | None = None
        self._is_closed = False
        self.listening_address = upstream.url

    def close(self) -> None:
        """Hang up."""
        self._is_closed = True
        if self._asking is not None:
            self._asking.cancel()

    def handle_completions(
        self, body: Mapping[str, JSON], callback: Callable[[Mapping[str, JSON]], bool]
    ) -> None:
        """See `Completing`."""
        self._asking = asyncio.run_coroutine_threadsafe(self._asked(body, callback), self._loop)
        if self._is_closed:  # Meanwhile.
            self._asking.cancel()
        with suppress(CancelledError):
            self._asking.result()

    async def _asked(
        self, body: Mapping[str, JSON], callback: Callable[[Mapping[str, JSON]], bool]
    ) -> None:
        bounds = self._upstream.bounds
        events = Events(event_bytes=bounds.event_bytes, answer_bytes=bounds.answer_bytes)
        asked = {"model": self._upstream.model, **body}
        async with (
            self._wire.stream("/completions", asked) as response,
            aclosing(response.aiter_raw()) as chunks,
        ):
            async for chunk in chunks:
                for data in events.feed(chunk):
                    if data == DONE or callback(parsed(data)):
                        return
