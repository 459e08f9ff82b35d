"""What the use cases need from engines, and from those who keep them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.generation import Finished
from services.inference.domain.model import Model
from services.inference.domain.request import Message, Request
from services.inference.domain.scoring import Scored, Scoring


class Engine(Protocol):
    """Runs models. Nothing of it blocks the event loop.

    What is asked has been checked, and is something the model's capabilities say it can do.
    """

    @property
    def active(self) -> int:
        """Slots that are busy now, those still stopping included."""

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot now."""

    async def load(self) -> None:
        """Get ready. Called once.

        Raises:
            Unavailable: `ENGINE_FAILED`; it cannot.
        """

    async def close(self) -> None:
        """Let go of everything, once every slot is idle."""

    async def check(self) -> None:
        """Whether it can still do its work.

        Raises:
            Unavailable: `ENGINE_FAILED`; it is dead, and only a new one helps.
        """

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

    async def score(self, scoring: Scoring) -> Scored:
        """How likely each label is as the answer. Cancelling it stops the engine.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`, or `MODEL_CAPABILITY_MISSING`.
            ResourceExhausted, Unavailable: as `generate`.
        """

    async def embed(self, embedding: Embedding) -> Embedded:
        """A vector for each text. Cancelling it stops the engine.

        Raises:
            InvalidArgument: `CONTEXT_WINDOW_EXCEEDED`, or `MODEL_CAPABILITY_MISSING`.
            ResourceExhausted, Unavailable: as `generate`.
        """


@dataclass(frozen=True, slots=True)
class Serving:
    """A model, and the engine that runs it here."""

    model: Model
    engine: Engine


class Catalogue(Protocol):
    """The models that can be asked, of all engines of this process."""

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        """The model of this name, or of this alias; empty means the default. `field` says where
        the request has it, for errors.

        Raises:
            NotFound: `MODEL_NOT_FOUND`, with the names there are.
            Unavailable: `ENGINE_LOADING`; it is being loaded.
        """

    def models(self, tenant: str) -> Sequence[Model]:
        """All that this tenant may ask, the default one first.

        Raises:
            Unavailable: `ENGINE_LOADING`; they are being loaded.
        """
