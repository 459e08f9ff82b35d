"""What the use cases need from an engine."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Protocol

from services.inference.domain.generation import Finished
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request


class Engine(Protocol):
    """Runs models. Nothing of it blocks the event loop."""

    @property
    def active(self) -> int:
        """Slots that are busy now, those still stopping included."""

    async def load(self) -> None:
        """Get ready. Called once.

        Raises:
            Unavailable: `ENGINE_FAILED`; it cannot.
        """

    async def close(self) -> None:
        """Let go of everything, once every slot is idle."""

    def models(self) -> Sequence[Model]:
        """The models it serves, the default one first.

        Raises:
            Unavailable: `ENGINE_LOADING`; they are being loaded.
        """

    def generate(
        self, request: Request, *, pace: timedelta
    ) -> AsyncGenerator[str | Finished, None]:
        """Pieces of text, then `Finished`, which may carry the last text.

        The first text comes at once; later ones come at least `pace` apart and hold all that was
        produced meanwhile; the end comes at once. Closing the generator stops the engine. A
        request's prefix is gone on from, and is not among the pieces.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED` or `SCHEMA_INVALID`.
            ResourceExhausted: `ENGINE_OVERLOADED`; the queue is full.
            Unavailable: `ENGINE_FAILED`.
        """

    async def count_tokens(self, model: str, messages: Sequence[Message], prefix: str = "") -> int:
        """Tokens of the prompt that these messages and this start of a turn make. Takes no slot.

        Raises:
            Unavailable: `ENGINE_FAILED`.
        """
