"""An engine that knows when nobody uses it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from services.chassis.errors import Unavailable
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request
from services.inference.domain.scoring import Scored, Scoring
from services.inference.ports import Engine

_RETRY_AFTER: Final = timedelta(seconds=1)


class Counted:
    """The engine itself, and a count of what is under way."""

    def __init__(self, engine: Engine, name: str = "") -> None:
        """`name` is what its one model is called; empty: as the engine calls its models."""
        self._engine = engine
        self._name = name
        self._is_closing = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> int:
        """See `Engine`."""
        return self._engine.active

    @property
    def waiting(self) -> int:
        """See `Engine`."""
        return self._engine.waiting

    async def load(self) -> None:
        """See `Engine`."""
        await self._engine.load()

    async def close(self) -> None:
        """Once nothing is under way any more; who comes from now on is told to ask again."""
        self._is_closing = True
        await self._idle.wait()
        await self._engine.close()

    async def check(self) -> None:
        """See `Engine`."""
        await self._engine.check()

    def models(self) -> Sequence[Model]:
        """See `Engine`."""
        models = self._engine.models()
        return [replace(models[0], name=self._name)] if self._name else models

    async def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """See `Engine`."""
        with self._used():
            async with aclosing(self._engine.generate(request, pace=pace)) as pieces:
                async for piece in pieces:
                    yield piece

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """See `Engine`."""
        with self._used():
            return await self._engine.count_tokens(model, messages, prefix)

    async def score(self, scoring: Scoring) -> Scored:
        """See `Engine`."""
        with self._used():
            return await self._engine.score(scoring)

    async def embed(self, embedding: Embedding) -> Embedded:
        """See `Engine`."""
        with self._used():
            return await self._engine.embed(embedding)

    @contextmanager
    def _used(self) -> Iterator[None]:
        if self._is_closing:  # Whoever comes found the model before that.
            name = self._name or "the model"
            message = f"{name} is being unloaded, or loaded anew; ask again in a second"
            raise Unavailable("ENGINE_LOADING", message, model=name).after(_RETRY_AFTER)
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
