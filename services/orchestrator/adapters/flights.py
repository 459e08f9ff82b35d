"""A turn that a model is asked for once, whoever wants it meanwhile."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from services.chassis.errors import DeadlineExceeded, Internal, ServiceError, Unavailable
from services.orchestrator.ports import Generation, Models, Piece

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]

MOST_CHARACTERS: Final = 1024 * 1024  # Twice what any step takes: then nobody listens any more.
ENOUGH: Final = 20.0  # Seconds that a turn has to have left for who joins it; or else
SHARE: Final = 0.9  # of the time that that one has.


class Flight:
    """Asks a model, and lets all who listen hear it from the beginning.

    The first of them pays: for the others, the turn is cached. When it leaves early the next one
    pays, and none of them notices.
    """

    def __init__(self, timeout: float) -> None:
        self._until = asyncio.get_running_loop().time() + timeout
        self._pieces: list[Piece] = []
        self._listeners: list[object] = []
        self._more = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._failure: ServiceError | None = None
        self._is_over = False
        self._is_paid = False

    @property
    def texts(self) -> Sequence[str]:
        """What was said so far."""
        return [piece.text for piece in self._pieces if piece.text]

    @property
    def is_left(self) -> bool:
        """Whether nobody listens."""
        return not self._listeners

    def has_time_for(self, timeout: float) -> bool:
        """Whether someone who has so much time can join it: it did not fail, and has enough."""
        left = self._until - asyncio.get_running_loop().time()
        return self._failure is None and (left >= min(timeout * SHARE, ENOUGH) or self._has_ended)

    def depart(self, models: Models, generation: Generation, timeout: float, spawn: Spawn) -> None:
        """Ask the model, in the context of the caller."""
        self._asking = spawn(self._ask(models, generation, timeout))

    async def listen(self, timeout: float) -> AsyncGenerator[Piece, None]:
        """The turn from its beginning, `timeout` in seconds.

        Raises:
            ServiceError: what the inference service says.
            Unavailable: the model was stopped, or had no more time, which it was given by another.
            DeadlineExceeded: who listens has no more time.
        """
        own, heard, has_departed = object(), 0, self.is_left
        until = None if has_departed else asyncio.get_running_loop().time() + timeout
        self._listeners.append(own)
        try:
            while True:
                while heard < len(self._pieces):
                    heard += 1
                    yield self._for(own, self._pieces[heard - 1])
                if self._is_over:
                    break
                await self._wait(until)
            if not self._has_ended:
                raise self._why(has_departed)
        finally:
            self._listeners.remove(own)

    async def stop(self) -> None:
        """Nobody listens any more: the model has stopped when this returns."""
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait((self._asking,))

    @property
    def _has_ended(self) -> bool:
        """Whether the turn is whole."""
        return bool(self._pieces) and self._pieces[-1].turn is not None

    async def _wait(self, until: float | None) -> None:
        """For more to be heard. Who began has the time that the model was given."""
        self._more.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._more.wait()
        except TimeoutError:
            raise DeadlineExceeded("DEADLINE_EXCEEDED", "the deadline passed") from None

    def _for(self, listener: object, piece: Piece) -> Piece:
        if not self._is_paid and self._listeners[0] is listener:
            self._is_paid = piece.turn is not None
            return piece
        turn = piece.turn and replace(piece.turn, is_cached=True)
        return replace(piece, turn=turn, is_cached=True)

    def _why(self, has_departed: bool) -> ServiceError:
        """Why a turn is not whole. The time that was over is that of who began it."""
        if self._failure is None:
            return Unavailable("SERVICE_STOPPING", "the service is stopping; try another replica")
        if isinstance(self._failure, DeadlineExceeded) and not has_departed:
            message = "the turn that this one shares had no more time; ask again"
            return Unavailable("SHARED_TURN_LOST", message)
        return self._failure

    async def _ask(self, models: Models, generation: Generation, timeout: float) -> None:
        size = 0
        try:
            async with aclosing(models.generate(generation, timeout=timeout)) as pieces:
                async for piece in pieces:
                    self._pieces.append(piece)
                    self._more.set()
                    if (size := size + len(piece.text)) > MOST_CHARACTERS:
                        break
        except ServiceError as error:
            self._failure = error.with_traceback(None)  # Its frames hold what is long over.
        except Exception:
            log.exception("turn failed")
            self._failure = Internal("INTERNAL", "internal error")
        finally:
            self._is_over = True
            self._more.set()
