"""What callers can do with models."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

from services.inference.domain.generation import Complete, Delta, Finished, Stopwatch
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request, check, check_messages
from services.inference.measures import Measures
from services.inference.ports import Catalogue

_WHOLE: Final = timedelta(hours=1)  # A pace for callers who want no pieces.


@dataclass(frozen=True, slots=True)
class Inference:
    """Generations and the models behind them."""

    catalogue: Catalogue
    merge: timedelta
    """The least time between two pieces of a stream."""
    max_prompt_bytes: int
    now: Callable[[], datetime]
    measures: Measures = field(default_factory=Measures)

    async def generate(self, tenant: str, request: Request) -> tuple[str, Complete]:
        """One assistant turn, whole."""
        texts: list[str] = []
        async with aclosing(self._generate(tenant, request, _WHOLE)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Complete):
                    return "".join(texts) + piece.finished.text, piece
                texts.append(piece.text)
        raise AssertionError("a generation ended without its last piece")

    def stream(self, tenant: str, request: Request) -> AsyncGenerator[Delta | Complete, None]:
        """One assistant turn as it is produced. Closing the generator stops the engine."""
        return self._generate(tenant, request, self.merge)

    async def count_tokens(
        self, tenant: str, name: str, messages: Sequence[Message], prefix: str
    ) -> tuple[int, Model]:
        """Tokens of a prompt, however long it is, and the model that was asked."""
        serving = self.catalogue.find(tenant, name)
        check_messages(messages, prefix, max_bytes=self.max_prompt_bytes)
        model = serving.model
        return await serving.engine.count_tokens(model.name, messages, prefix), model

    async def _generate(
        self, tenant: str, request: Request, pace: timedelta
    ) -> AsyncGenerator[Delta | Complete, None]:
        start = perf_counter()
        serving = self.catalogue.find(tenant, request.model)
        model = serving.model
        check(request, model, max_bytes=self.max_prompt_bytes)
        first = 0.0
        generating = serving.engine.generate(replace(request, model=model.name), pace=pace)
        async with aclosing(generating) as pieces:
            async for piece in pieces:
                now = perf_counter()
                first = first or now
                if isinstance(piece, Finished):
                    metrics = Stopwatch(start, first, now).metrics(piece)
                    complete = Complete(piece, metrics, model, self.now())
                    self.measures.generated(complete)
                    yield complete
                else:
                    yield Delta(piece)
