"""Models whose turns are said again to those who ask exactly the same."""

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from services.chassis.canonical import canonical
from services.chassis.errors import FailedPrecondition
from services.orchestrator.adapters.answers import Answer, Answers, Name
from services.orchestrator.adapters.flights import Flight, Spawn
from services.orchestrator.domain.caching import CacheControl
from services.orchestrator.domain.events import Message, Turn
from services.orchestrator.ports import Generation, Model, Models, Piece

WHOLE: Final = "stop"
"""Why a turn ended that is whole: one that was cut is none to keep."""
_KEPT: Final = 64


class CachedModels:
    """`Models`, of which some turns are answered from the cache, and some are kept there.

    What is kept is kept by who asked, once it is known to be good (`Piece.keep`). Who asks the same
    while a model is at it hears that one.
    """

    def __init__(
        self, models: Models, answers: Answers, spawn: Spawn, *, is_on: bool = True
    ) -> None:
        """Unless it `is_on`, models are asked for everything, if they may be asked."""
        self._is_on = is_on
        self._models = models
        self._answers = answers
        self._spawn = spawn
        self._flights: dict[Name, Flight] = {}
        self._schemas: dict[int, tuple[Mapping[str, object], str]] = {}

    async def known(self) -> Mapping[str, Model]:
        """See `Models`."""
        return await self._models.known()

    async def resolve(self, name: str) -> Model:
        """See `Models`."""
        return await self._models.resolve(name)

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """See `Models`."""
        return await self._models.count_tokens(model, messages, prefix)

    def generate(self, generation: Generation, *, timeout: float) -> AsyncGenerator[Piece, None]:
        """See `Models`."""
        control = generation.cache
        if control is None or not (control.is_only or self._covers(generation, control)):
            return self._models.generate(generation, timeout=timeout)
        return self._cached(generation, control, timeout)

    def _covers(self, generation: Generation, control: CacheControl) -> bool:
        return self._is_on and control.covers(generation.sampling.temperature)

    async def _cached(
        self, generation: Generation, control: CacheControl, timeout: float
    ) -> AsyncGenerator[Piece, None]:
        model = await self._models.resolve(generation.model)
        if (name := self._name(generation, model)) is None:
            async with aclosing(self._models.generate(generation, timeout=timeout)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        if (answer := await self._found(name, control)) is not None:
            for piece in _pieces(answer):
                yield piece
            return
        if control.is_only:
            raise _not_cached()
        flight = self._flight(name, generation, control, timeout)
        try:
            async with aclosing(flight.listen(timeout)) as pieces:
                async for piece in pieces:
                    yield self._keepable(piece, name, flight, model)
        finally:
            if flight.is_left:
                self._forget(name, flight)
                await flight.stop()

    async def _found(self, name: Name, control: CacheControl) -> Answer | None:
        if not (control.is_asked and self._is_on):
            return None
        return await self._answers.find(name, control.max_age_seconds)

    def _flight(
        self, name: Name, generation: Generation, control: CacheControl, timeout: float
    ) -> Flight:
        """The one that asks this already, if it may be joined, or a new one."""
        flight = self._flights.get(name)
        if flight is not None and control.is_asked and flight.has_time_for(timeout):
            self._answers.counts.hits["shared"] += 1
            return flight
        self._answers.counts.misses += 1
        flight = self._flights[name] = Flight(timeout)
        flight.depart(self._models, generation, timeout, self._spawn)
        return flight

    def _forget(self, name: Name, flight: Flight) -> None:
        """Nobody joins it from here on."""
        if self._flights.get(name) is flight:
            del self._flights[name]

    def _keepable(self, piece: Piece, name: Name, flight: Flight, model: Model) -> Piece:
        """On the last piece of a whole turn: how it is kept. The list of models may be older than
        the model that said it."""
        if piece.turn is None or piece.finish_reason != WHOLE:
            return piece
        if piece.model_version not in {"", model.version}:
            return piece
        turn = replace(piece.turn, is_cached=False)
        return replace(piece, keep=partial(self._keep, name, flight, turn))

    def _keep(self, name: Name, flight: Flight, turn: Turn) -> None:
        if (answer := self._answers.keep(name, flight.texts, turn)) is not None:
            self._spawn(self._answers.spread(name, answer))

    def _name(self, generation: Generation, model: Model) -> Name | None:
        """A hash over all that decides about a turn; None where it has what JSON has not."""
        try:
            return generation.tenant, self._question(generation, model)
        except ValueError:
            return None

    def _question(self, generation: Generation, model: Model) -> str:
        sampling = generation.sampling
        document = {
            "model": [model.name, model.version],
            "messages": [[message.role, message.content] for message in generation.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": generation.max_tokens,
            "stop": list(sampling.stop),
            "seed": sampling.seed,
            "schema": self._schema(generation.schema),
            "prefix": generation.prefix,
        }
        return hashlib.sha256(canonical(document)).hexdigest()

    def _schema(self, schema: Mapping[str, object] | None) -> str | None:
        """A schema's own hash. Steps with the same tools have the same one: the object itself is
        the key."""
        if schema is None:
            return None
        if (kept := self._schemas.get(id(schema))) is not None and kept[0] is schema:
            return kept[1]
        if len(self._schemas) >= _KEPT:
            self._schemas.clear()
        digest = hashlib.sha256(canonical(schema)).hexdigest()
        self._schemas[id(schema)] = schema, digest
        return digest


def _pieces(answer: Answer) -> Sequence[Piece]:
    """A turn as it was said, by nobody now."""
    said = [Piece(text, is_cached=True) for text in answer.texts]
    turn = replace(answer.turn, is_cached=True)
    return [*said, Piece("", WHOLE, turn, is_cached=True)]


def _not_cached() -> FailedPrecondition:
    return FailedPrecondition(
        "ANSWER_NOT_CACHED",
        "the cache has no answer to this, and no model may be asked",
        field="cache",
        suggested_fix="leave out only-if-cached",
    )
