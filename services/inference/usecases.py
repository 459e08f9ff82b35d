"""What callers can do with models."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter

from services.chassis.errors import NotFound
from services.inference.domain.generation import Complete, Delta, Finished, Stopwatch
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request, check, check_messages
from services.inference.ports import Engine

WHOLE = timedelta(hours=1)  # A pace for callers who want no pieces.


@dataclass(frozen=True, slots=True)
class Inference:
    """Generations and the models behind them."""

    engine: Engine
    merge: timedelta
    """The least time between two pieces of a stream."""
    max_prompt_bytes: int
    now: Callable[[], datetime]

    async def generate(self, request: Request) -> tuple[str, Complete]:
        """One assistant turn, whole."""
        texts: list[str] = []
        async with aclosing(self._generate(request, WHOLE)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Complete):
                    return "".join(texts) + piece.finished.text, piece
                texts.append(piece.text)
        raise AssertionError("a generation ended without its last piece")

    def stream(self, request: Request) -> AsyncGenerator[Delta | Complete, None]:
        """One assistant turn as it is produced. Closing the generator stops the engine."""
        return self._generate(request, self.merge)

    async def count_tokens(
        self, name: str, messages: Sequence[Message], prefix: str
    ) -> tuple[int, Model]:
        """Tokens of a prompt, however long it is, and the model that was asked."""
        model = self._asked(name)
        check_messages(messages, prefix, max_bytes=self.max_prompt_bytes)
        return await self.engine.count_tokens(model.name, messages, prefix), model

    def list_models(self) -> Sequence[Model]:
        """All models, the default one first."""
        return self.engine.models()

    def get_model(self, name: str, *, field: str = "name") -> Model:
        """The model of this name. `field` says where the request has it, for errors.

        Raises:
            NotFound: `MODEL_NOT_FOUND`, with the names there are.
        """
        models = self.list_models()
        for model in models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in models)
        default = f"; or leave it out for {models[0].name}" if field == "model" else ""
        raise NotFound(
            "MODEL_NOT_FOUND",
            f"there is no model {name[:64]!r}; known: {known}",
            model=name[:64],
            known=known,
            field=field,
            suggested_fix=f"use one of: {known}{default}",
        )

    def _asked(self, name: str) -> Model:
        """The model a request names; without a name the default."""
        return self.get_model(name, field="model") if name else self.list_models()[0]

    async def _generate(
        self, request: Request, pace: timedelta
    ) -> AsyncGenerator[Delta | Complete, None]:
        start = perf_counter()
        model = self._asked(request.model)
        check(request, model, max_bytes=self.max_prompt_bytes)
        first = 0.0
        generating = self.engine.generate(replace(request, model=model.name), pace=pace)
        async with aclosing(generating) as pieces:
            async for piece in pieces:
                now = perf_counter()
                first = first or now
                if isinstance(piece, Finished):
                    metrics = Stopwatch(start, first, now).metrics(piece)
                    yield Complete(piece, metrics, model, self.now())
                else:
                    yield Delta(piece)
