"""An engine elsewhere, asked by OpenAI's HTTP API."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.chassis.errors import ServiceError, Unavailable
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished, Usage
from services.inference.domain.model import Capability, Model
from services.inference.domain.request import JSON, Message, Priority, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import failures
from services.inference.engines.openai_http import embedding as embeddings
from services.inference.engines.openai_http import tokens
from services.inference.engines.openai_http.answer import Answer
from services.inference.engines.openai_http.body import body
from services.inference.engines.openai_http.events import Events
from services.inference.engines.openai_http.faults import Refusal, RefusedError
from services.inference.engines.openai_http.scores import SCORES
from services.inference.engines.openai_http.upstream import Connect, Key, Upstream
from services.inference.engines.openai_http.wire import Wire
from services.inference.engines.outbox import Outbox
from services.inference.engines.slots import Slots

_LOADING: Final = timedelta(seconds=1)
_MISSING: Final = 404
_BUSY: Final = 429
_LAST_WORDS: Final = 0.05
"""Seconds for an answer to end behind its last event, so that the connection can be used again."""


class OpenAIEngine:
    """Serves one model of an upstream. Answers `ENGINE_LOADING` until that has answered once.

    Its slots and its queue are this process's: what the upstream does beyond them is its own.
    """

    def __init__(self, upstream: Upstream, connect: Connect, key: Key | None = None) -> None:
        """`key` reads the upstream's key; None: it wants none."""
        self._upstream = upstream
        self._wire = Wire(upstream, connect, key)
        retry_after = upstream.bounds.retry_after
        self._slots = Slots(upstream.slots, queue=upstream.queue, retry_after=retry_after)
        self._model: Model | None = None
        extra = upstream.dialect.extra
        self._scores = SCORES[extra](self._wire, upstream) if extra else None

    @property
    def active(self) -> int:
        """Slots that are busy now, those still stopping included."""
        return self._slots.active

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot now."""
        return self._slots.waiting

    async def load(self) -> None:
        """Wait until the upstream answers, and ask how large the model's window is.

        Raises:
            Unavailable: `ENGINE_FAILED`; it does not answer in time, refuses the key, or does not
                tell the window, which the settings leave to it.
        """
        window = await self._told_window()
        declared = self._upstream.context_tokens
        if (least := min(filter(None, (window, declared)), default=None)) is None:
            setting = self._upstream.setting("context_tokens")
            why = f"the upstream does not tell the window of {self._upstream.model}: set {setting}"
            raise failures.engine_failed(why)
        self._model = self._with_window(least)

    async def close(self) -> None:
        """Hang up."""
        await self._wire.close()

    async def check(self) -> None:
        """An upstream that is away may come back: nothing of this engine is dead."""

    def models(self) -> Sequence[Model]:
        """The one model."""
        return (self._ready(),)

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """See `Engine`."""
        asked = body(request, self._upstream, self._ready().context_tokens)
        end: Finished | None = None
        async with (
            self._running(request, asked) as (outbox, queue_ms),
            aclosing(outbox.pieces(pace)) as pieces,
        ):
            async for piece in pieces:
                if isinstance(piece, str):
                    yield piece
                else:
                    end = replace(piece, queue_ms=queue_ms)
        if end is not None:  # Who hears of the end may ask again at once: the slot is free.
            yield end

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """See `Engine`; by the upstream's tokenizer; without one, at most so many."""
        request = Request(model, tuple(messages), prefix=prefix)
        return await tokens.prompt_tokens(self._wire, self._upstream, request)

    async def score(self, scoring: Scoring) -> Scored:
        """See `Engine`; by the upstream's log-probabilities."""
        if self._scores is None or Capability.CLASSIFY not in self._upstream.capabilities:
            raise failures.unable(scoring.model, Capability.CLASSIFY)
        asked = Request(scoring.model, scoring.messages)
        async with self._slot(scoring.priority) as queue_ms, self._translated(asked):
            window = self._ready().context_tokens
            return await self._scores.scored(scoring, window, queue_ms)

    async def embed(self, embedding: Embedding) -> Embedded:
        """See `Engine`."""
        if Capability.EMBED not in self._upstream.capabilities:
            raise failures.unable(embedding.model, Capability.EMBED)
        window = self._ready().context_tokens
        async with self._slot(embedding.priority) as queue_ms:
            try:
                work = embeddings.embedded(self._wire, self._upstream, embedding, window)
                return replace(await work, queue_ms=queue_ms)
            except RefusedError as error:
                raise self._unread(error.refused, embedding) from None

    @asynccontextmanager
    async def _slot(self, priority: Priority) -> AsyncIterator[float]:
        """A slot; yields the milliseconds waited for it."""
        queue_ms = await self._slots.acquire(priority)
        try:
            yield queue_ms
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _running(
        self, request: Request, asked: Mapping[str, JSON]
    ) -> AsyncIterator[tuple[Outbox, float]]:
        """A turn under way: its outbox, and the milliseconds it waited. Leaving it hangs up."""
        async with self._slot(request.priority) as queue_ms:
            outbox = Outbox(lambda: self._slots.active)
            asking = asyncio.get_running_loop().create_task(self._ask(request, asked, outbox))
            try:
                yield outbox, queue_ms
            finally:
                asking.cancel()
                await asyncio.wait((asking,))
            if not asking.cancelled():
                asking.result()

    async def _ask(self, request: Request, asked: Mapping[str, JSON], outbox: Outbox) -> None:
        outcome: Finished | ServiceError = failures.engine_failed("its answer broke off")
        answer = Answer(outbox, request.schema, _most_of(asked, self._upstream))
        try:
            await self._read(asked, answer)
            outcome = answer.finished(answer.usage or await self._counted(request, answer.pieces))
        except RefusedError as error:
            outcome = await self._fault(error.refused, request)
        except ServiceError as error:
            outcome = error
        finally:
            outbox.end(outcome)

    async def _read(self, asked: Mapping[str, JSON], answer: Answer) -> None:
        bounds = self._upstream.bounds
        events = Events(event_bytes=bounds.event_bytes, answer_bytes=bounds.answer_bytes)
        async with (
            self._wire.stream("/chat/completions", asked) as response,
            aclosing(response.aiter_raw()) as chunks,
        ):
            async for chunk in chunks:
                if any(answer.take(data) for data in events.feed(chunk)):
                    await _rest(chunks)
                    return

    async def _counted(self, request: Request, completion_tokens: int) -> Usage:
        """What the upstream did not count."""
        prompt = await tokens.prompt_tokens(self._wire, self._upstream, request)
        return Usage(prompt, completion_tokens)

    async def _fault(self, refused: Refusal, request: Request) -> ServiceError:
        if not refused.is_of_window:
            return self._wire.fault(refused, is_bound=request.schema is not None)
        try:
            counted = await tokens.prompt_tokens(self._wire, self._upstream, request)
        except ServiceError as error:
            return error
        return failures.window_exceeded(counted, self._ready().context_tokens)

    def _unread(self, refused: Refusal, embedding: Embedding) -> ServiceError:
        """Of texts that are too long, the longest is named: the upstream does not say which."""
        if not refused.is_of_window:
            return self._wire.fault(refused)
        sizes = [tokens.at_most_of(text) for text in embedding.inputs]
        window, most = self._ready().context_tokens, max(sizes)
        return failures.text_exceeds(f"inputs[{sizes.index(most)}]", max(most, window + 1), window)

    @asynccontextmanager
    async def _translated(self, request: Request) -> AsyncIterator[None]:
        """Refusals as the errors that they are here."""
        try:
            yield
        except RefusedError as error:
            raise await self._fault(error.refused, request) from None

    async def _told_window(self) -> int | None:
        """The window that the upstream tells, once it is there; None if it does not."""
        bounds = self._upstream.bounds
        until, least = _now() + bounds.start.total_seconds(), bounds.window.total_seconds()
        fault: ServiceError
        while True:
            try:
                async with asyncio.timeout(max(until - _now(), least)):
                    return await tokens.window(self._wire, self._upstream)
            except TimeoutError:
                name, where = self._upstream.name, self._upstream.setting("url")
                fault = failures.engine_failed(
                    f"the upstream of {name} does not answer in time: see {where}"
                )
                is_final = False
            except RefusedError as error:
                status, fault = error.refused.status, self._wire.fault(error.refused)
                if status == _MISSING and self._upstream.context_tokens is not None:
                    return None  # Not every server lists its models.
                is_final = status < 500 and status != _BUSY
            except Unavailable as error:
                fault, is_final = error.with_traceback(None), False  # It holds what was said.
            if is_final or _now() >= until:
                raise fault
            await asyncio.sleep(_LOADING.total_seconds())  # It may be starting, too.

    def _with_window(self, window: int) -> Model:
        asked = self._upstream
        return Model(
            asked.name,
            asked.version,
            "openai",
            window,
            min(asked.default_max_tokens, window),
            asked.slots,
            asked.capabilities,
        )

    def _ready(self) -> Model:
        if self._model is None:
            message = f"the upstream of {self._upstream.name} has not answered yet; try again soon"
            raise Unavailable("ENGINE_LOADING", message, model=self._upstream.name).after(_LOADING)
        return self._model


def _most_of(asked: Mapping[str, JSON], upstream: Upstream) -> int:
    most = asked[upstream.limit_field]
    return most if isinstance(most, int) else 0


async def _rest(chunks: AsyncIterator[bytes]) -> None:
    """Wait a moment for an answer to end, so that its connection can be used again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            async for _ in chunks:
                pass


def _now() -> float:
    return asyncio.get_running_loop().time()
