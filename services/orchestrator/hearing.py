"""A turn that is not waited for without end: where there is another model, silence is bounded; and
where a route says so, a second call is made beside the first."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from services.chassis.errors import DeadlineExceeded, ServiceError, Unavailable
from services.orchestrator.ports import Generation, Piece, Speakers

Pieces = AsyncGenerator[Piece, None]
_END: Final = Piece("")


@dataclass(frozen=True, slots=True)
class Lost:
    """A call that was made for nothing."""

    generation: Generation
    is_second: bool


@dataclass
class Hearing:
    """Speaks for `speakers`, one turn. What became of it is known when it has ended."""

    speakers: Speakers
    patience: Callable[[], float] | None = None
    """For how many seconds a silence is borne, from now; None for any."""
    hedge_after: float | None = None
    """After how many seconds of silence a second call is made; None for never."""
    other: str = ""
    """The model of the second call where no other replica can be asked; empty for none."""
    changes: Callable[[], Awaitable[None]] | None = None
    """Told before the first word, if it is the other model that speaks."""
    lost: Lost | None = field(default=None, init=False)
    """The call that was made for nothing."""

    async def generate(self, generation: Generation, *, timeout: float) -> Pieces:
        """See `Speakers`.

        Raises:
            DeadlineExceeded: `MODEL_TOO_SLOW`; it was silent for too long.
        """
        async with aclosing(self._heard(generation, timeout)) as pieces:
            while True:
                try:
                    async with asyncio.timeout(self.patience() if self.patience else None):
                        piece = await anext(pieces, _END)
                except TimeoutError:
                    raise _too_slow(generation.model) from None
                if piece is _END:
                    return
                yield piece

    def _heard(self, generation: Generation, timeout: float) -> Pieces:
        if self.hedge_after is None:
            return self.speakers.generate(generation, timeout=timeout)
        return self._raced(generation, timeout, self.hedge_after)

    async def _raced(self, generation: Generation, timeout: float, after: float) -> Pieces:
        """What the first of two calls to speak says; the other one is closed then."""
        second = _Elsewhere(self.speakers, generation, self.other, timeout)
        race = _Race(self.speakers.generate(generation, timeout=timeout), second.pieces())
        winner, piece = await race.run(after)
        async with aclosing(winner) as pieces:
            self.lost = race.lost(generation, second.generation)
            if winner is race.second and second.is_other and self.changes is not None:
                await self.changes()
            if piece is _END:
                return
            yield piece
            async for later in pieces:
                yield later


@dataclass
class _Elsewhere:
    """The second call: of the same model at another replica, or else of the other model."""

    speakers: Speakers
    first: Generation
    other: str
    timeout: float
    is_other: bool = False

    def __post_init__(self) -> None:
        self.generation = replace(self.first, apart_from=self.first, cache=None)

    async def pieces(self) -> Pieces:
        """What it says."""
        try:
            async with aclosing(self._asked()) as pieces:
                async for piece in pieces:
                    yield piece
                return
        except Unavailable as error:
            if error.reason != "NO_OTHER_REPLICA" or not self.other:
                raise
        self.is_other, self.generation = True, replace(self.first, model=self.other, cache=None)
        async with aclosing(self._asked()) as pieces:
            async for piece in pieces:
                yield piece

    def _asked(self) -> Pieces:
        return self.speakers.generate(self.generation, timeout=self.timeout)


@dataclass
class _Race:
    """Two calls, of which the first to speak wins. The other one is cancelled."""

    first: Pieces
    second: Pieces
    _won: tuple[Pieces, Piece] | None = None
    _errors: dict[int, ServiceError] = field(default_factory=dict)
    _has_second: bool = False

    async def run(self, after: float) -> tuple[Pieces, Piece]:
        """The winner, and the first that it says.

        Raises:
            ServiceError: what the first call failed with, if none of them spoke.
        """
        try:
            await self._run(after)
        except BaseException:
            if self._won is not None:
                await self._won[0].aclose()
            raise
        if self._won is None:
            raise self._errors[id(self.first)]
        return self._won

    async def _run(self, after: float) -> None:
        async with asyncio.TaskGroup() as group:
            running = {group.create_task(self._hear(self.first))}
            _, running = await asyncio.wait(running, timeout=after)
            if running:
                self._has_second = True
                running.add(group.create_task(self._hear(self.second)))
            while running and self._won is None:
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for each in running:
                each.cancel()

    def lost(self, first: Generation, second: Generation) -> Lost | None:
        """The call that was made for nothing, unless it failed."""
        if self._won is None or not self._has_second:
            return None
        loser = self.second if self._won[0] is self.first else self.first
        if id(loser) in self._errors:
            return None
        return Lost(first, False) if loser is self.first else Lost(second, True)

    async def _hear(self, pieces: Pieces) -> None:
        try:
            piece = await anext(pieces, _END)
        except ServiceError as error:
            self._errors[id(pieces)] = error
            return
        if self._won is None:
            self._won = pieces, piece
        else:
            await pieces.aclose()


def _too_slow(model: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        "MODEL_TOO_SLOW",
        f"{model} was silent for so long that another model has to go on",
        model=model,
    )
