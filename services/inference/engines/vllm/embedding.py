"""vLLM as an engine for vectors: an instance of its own, for one that generates does not embed."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.inference.domain.embedding import Embedded, Embedding, unit
from services.inference.domain.generation import Finished
from services.inference.domain.model import Capability, Model
from services.inference.domain.request import Message, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.engines import failures
from services.inference.engines.slots import Slots
from services.inference.engines.vllm.engine import ENGINE
from services.inference.engines.vllm.host import RETRY_AFTER, Host
from services.inference.engines.vllm.options import Options

if TYPE_CHECKING:
    from services.inference.engines.vllm.core import Core, Prompt

_AT_ONCE: Final = 16  # Texts of one request that are in the engine at a time.


class VllmEmbeddingEngine:
    """Serves one model. Answers `ENGINE_LOADING` until it is loaded."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._host = Host(options)
        self._slots = Slots(options.slots, queue=options.queue, retry_after=RETRY_AFTER)

    @property
    def active(self) -> int:
        """Slots that are busy now."""
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
        """The one model."""
        window, slots = self._host.ready().context_tokens, self._options.slots
        able = frozenset({Capability.EMBED})
        return (Model(self._options.name, self._host.version, ENGINE, window, 0, slots, able),)

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """It generates nothing."""
        raise failures.unable(request.model, Capability.GENERATE)
        yield  # What makes it a generator.

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """Tokens of all that is said, as texts."""
        core = self._host.ready()
        texts = [*(each.content for each in messages), prefix]
        return sum([len((await core.text(core.tame(text))).tokens) for text in texts if text])

    async def score(self, scoring: Scoring) -> Scored:
        """It scores nothing."""
        raise failures.unable(scoring.model, Capability.CLASSIFY)

    async def embed(self, embedding: Embedding) -> Embedded:
        """See `Engine`."""
        core = self._host.ready()
        prompts = [await _prompt(core, *each) for each in enumerate(embedding.inputs)]
        queue_ms = await self._slots.acquire(embedding.priority)
        try:
            vectors = await _vectors(core, prompts, embedding)
        finally:
            self._slots.release()
        return Embedded(vectors, sum(len(each.tokens) for each in prompts), queue_ms)


async def _prompt(core: "Core", index: int, text: str) -> "Prompt":
    prompt = await core.text(core.tame(text))
    if (size := len(prompt.tokens)) > core.context_tokens:
        raise failures.text_exceeds(f"inputs[{index}]", size, core.context_tokens)
    return prompt


async def _vectors(
    core: "Core", prompts: Sequence["Prompt"], embedding: Embedding
) -> tuple[tuple[float, ...], ...]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def vector(prompt: "Prompt") -> tuple[float, ...]:
        async with free:
            return unit(await core.vector(prompt, embedding.priority))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(vector(prompt)) for prompt in prompts]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return tuple(task.result() for task in tasks)
