"""vLLM in this process: one model, its adapters, and as many callers as fit into a batch."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from services.chassis.errors import ServiceError
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished, FinishReason, Usage
from services.inference.domain.model import GENERATING, Capability, Model
from services.inference.domain.request import Message, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import failures
from services.inference.engines.branches import Path, branches, sums
from services.inference.engines.outbox import Outbox
from services.inference.engines.slots import Slots
from services.inference.engines.vllm.host import RETRY_AFTER, Host
from services.inference.engines.vllm.options import Options

if TYPE_CHECKING:
    from services.inference.engines.vllm.core import Core, Prompt

ENGINE: Final = "vllm"
CAPABILITIES: Final = GENERATING | {Capability.CONSTRAINT}
_NO_PIECES: Final = timedelta(minutes=1)  # A pace that nobody has who watches.
_AT_ONCE: Final = 16  # Beginnings of labels that one scoring asks for at a time.
_MOST_CHOICES: Final = 128  # As in `core`, which is imported late.


class VllmEngine:
    """Serves a model and its adapters. Answers `ENGINE_LOADING` until they are loaded."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._host = Host(options)
        self._slots = Slots(options.slots, queue=options.queue, retry_after=RETRY_AFTER)

    @property
    def active(self) -> int:
        """Slots that are busy now, those still stopping included."""
        return self._slots.active

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot now."""
        return self._slots.waiting

    async def load(self) -> None:
        """See `Engine`. The processes that compute are started here."""
        await self._host.load()

    async def close(self) -> None:
        """Stop the processes that compute."""
        await self._host.close()

    async def check(self) -> None:
        """See `Engine`."""
        await self._host.check()

    def models(self) -> Sequence[Model]:
        """The model, then its adapters."""
        core = self._host.ready()
        return [
            Model(
                name,
                self._host.version,
                ENGINE,
                core.context_tokens,
                self._options.max_tokens,
                self._options.slots,
                CAPABILITIES,
            )
            for name in (self._options.name, *self._options.adapters)
        ]

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """See `Engine`."""
        core = self._host.ready()
        prompt = await self._prompt(core, request.messages, request.prefix)
        queue_ms = await self._slots.acquire(request.priority)
        end: Finished | None = None
        async with self._pieces(core, request, prompt, pace) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finished):
                    end = piece
                else:
                    yield piece
        if end is not None:  # Who hears of the end may ask again at once: the slot is free by now.
            yield replace(end, queue_ms=queue_ms + end.queue_ms)

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """See `Engine`; by the model's own template."""
        core = self._host.ready()
        return len((await core.prompt(*_tamed(core, messages, prefix))).tokens)

    async def score(self, scoring: Scoring) -> Scored:
        """See `Engine`. Beginnings that labels share are asked for once."""
        core = self._host.ready()
        spelled = [await core.spelled(core.tame(label)) for label in scoring.labels]
        paths = [(*tokens, core.end) for tokens in spelled]
        most = max(map(len, paths))
        prompt = await self._prompt(core, scoring.messages, room=most)
        queue_ms = await self._slots.acquire(scoring.priority)
        try:
            known = await _known(core, prompt, branches(paths), scoring)
        finally:
            self._slots.release()
        usage = Usage(len(prompt.tokens), len(branches(paths)))
        return Scored(sums(paths, known), usage, queue_ms)

    async def embed(self, embedding: Embedding) -> Embedded:
        """It embeds nothing while it generates."""
        raise failures.unable(embedding.model, Capability.EMBED)

    async def _prompt(
        self, core: "Core", messages: Sequence[Message], prefix: str = "", *, room: int = 1
    ) -> "Prompt":
        prompt = await core.prompt(*_tamed(core, messages, prefix))
        if len(prompt.tokens) + room > core.context_tokens:
            raise failures.window_exceeded(len(prompt.tokens), core.context_tokens)
        return prompt

    @asynccontextmanager
    async def _pieces(
        self, core: "Core", request: Request, prompt: "Prompt", pace: timedelta
    ) -> AsyncIterator[AsyncGenerator[str | Finished, None]]:
        """The slot is free, and vLLM knows, when the context is left."""
        outbox = Outbox(lambda: self._slots.active)
        running = asyncio.create_task(
            self._run(core, request, prompt, outbox, is_whole=pace > _NO_PIECES)
        )
        try:
            async with aclosing(outbox.pieces(pace)) as pieces:
                yield pieces
        finally:
            running.cancel()
            try:
                await asyncio.wait((running,))
            finally:
                self._slots.release()

    async def _run(
        self, core: "Core", request: Request, prompt: "Prompt", outbox: Outbox, *, is_whole: bool
    ) -> None:
        limit = request.sampling.max_tokens or self._options.max_tokens
        limit = min(limit, core.context_tokens - len(prompt.tokens))
        said, cached = 0, 0
        try:
            generating = core.generate(request, prompt, limit, is_whole=is_whole)
            async with aclosing(generating) as outputs:
                async for output in outputs:
                    new = output.outputs[0]
                    said += len(new.token_ids)
                    cached = output.num_cached_tokens or cached
                    if new.text:
                        outbox.put(new.text)
            usage = Usage(len(prompt.tokens), said, cached)
            outbox.end(_finished(new.finish_reason, usage, output.metrics))
        except ServiceError as error:
            outbox.end(error)
        except Exception as error:
            outbox.end(failures.engine_failed(type(error).__name__))
            raise


def _finished(reason: str | None, usage: Usage, metrics: Any) -> Finished | ServiceError:
    if reason not in {"stop", "length"}:
        return failures.engine_failed(f"it stopped with {reason!r}")
    waited = metrics.scheduled_ts - metrics.queued_ts if metrics is not None else 0.0
    return Finished(cast("FinishReason", reason), usage, 1e3 * max(waited, 0.0))


def _tamed(core: "Core", messages: Sequence[Message], prefix: str) -> tuple[Sequence[Message], str]:
    """What is said, and nothing that the model would take for the end of a turn."""
    return [replace(each, content=core.tame(each.content)) for each in messages], core.tame(prefix)


async def _known(
    core: "Core", prompt: "Prompt", following: Mapping[Path, Sequence[int]], scoring: Scoring
) -> Mapping[Path, float]:
    """How likely each token of a label is behind the ones before it."""
    asked = Request(scoring.model, scoring.messages, priority=scoring.priority)
    free = asyncio.Semaphore(_AT_ONCE)
    known: dict[Path, float] = {}

    async def ask(said: Path, tokens: Sequence[int]) -> None:
        async with free:
            for start in range(0, len(tokens), _MOST_CHOICES):
                some = tokens[start : start + _MOST_CHOICES]
                chances = await core.chances(prompt, said, some, asked)
                known.update({(*said, token): chance for token, chance in chances.items()})

    first, *others = following.items()
    await ask(*first)  # The empty beginning, alone: the others find the prompt in the cache.
    try:
        async with asyncio.TaskGroup() as group:
            for each in others:
                group.create_task(ask(*each))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return known
