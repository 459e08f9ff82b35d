"""What the use cases need from engines, and from those who keep them."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.chassis.errors import ServiceError
from services.chassis.eventlog.port import Kept, Key
from services.inference.domain.embedding import Embedded, Embedding
from services.inference.domain.entry import NO_FACTS, Entry, Facts, Listed, Wanted
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

        The first text comes at once; later ones come at least `pace` apart, and further apart where
        there are many streams, and hold all that was produced meanwhile; the end comes at once.
        Closing the generator stops the engine. A request's prefix is gone on from, and is not
        among the pieces.

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
    price: tuple[float, float] = (0.0, 0.0)
    """What a million tokens of prompt cost, and of output, in US dollars."""


class Catalogue(Protocol):
    """The models that can be asked, of all engines of this process."""

    def find(self, tenant: str, name: str, *, field: str = "model") -> Serving:
        """The model of this name, or of this alias; empty means the default. `field` says where
        the request has it, for errors.

        Raises:
            NotFound: `MODEL_NOT_FOUND`, with the names there are.
            FailedPrecondition: `MODEL_NOT_LOADED`, with why and the fix.
            Unavailable: `ENGINE_LOADING`; it is being loaded.
        """

    def models(self, tenant: str) -> Sequence[Model]:
        """All that this tenant may ask, the default one first.

        Raises:
            Unavailable: `ENGINE_LOADING`; they are being loaded.
        """


@dataclass(frozen=True, slots=True)
class Built:
    """An engine for an entry, not loaded yet, and what its file says."""

    engine: Engine
    facts: Facts = NO_FACTS
    explained: Callable[[ServiceError], ServiceError] = lambda error: error
    """Why it could not be loaded, by one who knows more than it does."""


class Builder(Protocol):
    """Makes engines for entries."""

    async def __call__(self, tenant: str, entry: Entry) -> Built:
        """Make one; the tenant is that of who created the entry.

        Raises:
            FailedPrecondition: what it needs is not there or not right: `MODEL_FILE_MISSING`,
                `MODEL_FILE_INVALID`, `MODEL_FILE_UNSUPPORTED`, `ENGINE_NOT_INSTALLED`.
            ResourceExhausted: `MODEL_MEMORY_EXCEEDED`.
        """


class Shelf(Protocol):
    """What this process has of the catalogue."""

    def listed(self, tenant: str) -> Sequence[Listed]:
        """All that this tenant may see, loaded or not.

        Raises:
            Unavailable: `ENGINE_LOADING`; the model of the settings is being loaded.
        """

    def seen(self, tenant: str, name: str, *, field: str = "name") -> Listed:
        """The one of this name or alias.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
            Unavailable: as `listed`.
        """

    async def known(self) -> None:
        """Wait until this process knows what there is: soon after its start."""

    async def settled(self, tenant: str, name: str) -> Listed:
        """The same, once it is neither being loaded nor unloaded."""


class ModelStore(Protocol):
    """Keeps the entries that tenants create."""

    async def find(self, tenant: str, name: str) -> Entry | None:
        """An entry."""

    async def count(self, tenant: str, most: int) -> int:
        """How many a tenant has; as many as `most` at any rate."""

    async def add(self, tenant: str, entry: Entry, key: Key | None) -> Entry:
        """Keep a new entry, in its first revision.

        Raises:
            AlreadyExists: `MODEL_ALREADY_EXISTS`, or `IDEMPOTENCY_KEY_TAKEN`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """What a key stands for: the name of an entry."""

    async def change(self, tenant: str, entry: Entry) -> Entry:
        """Keep the revision that follows the entry's.

        Raises:
            Aborted: `MODEL_CONFLICT`; the entry's is not the newest.
        """

    async def remove(self, tenant: str, entry: Entry, time: datetime) -> None:
        """Let there be no such entry any more.

        Raises:
            Aborted: `MODEL_CONFLICT`; the entry's revision is not the newest.
        """

    async def want(self, tenant: str, name: str, time: datetime, *, is_wanted: bool) -> None:
        """Say whether a tenant's own is to be loaded, in every process.

        Raises:
            NotFound: `MODEL_NOT_FOUND`.
        """

    async def wish(self, name: str, time: datetime, *, is_wanted: bool) -> None:
        """The same of one that is declared."""

    async def every(self) -> Sequence[tuple[str, Wanted]]:
        """All entries, each with its tenant, and whether they are to be loaded."""

    async def wishes(self) -> Sequence[tuple[str, bool, int]]:
        """What was said of those that are declared: name, whether to load, and how often."""


class Follows(Protocol):
    """Makes this process, and others, see what has just been stored."""

    async def see(self) -> None:
        """Here now."""

    async def look(self) -> None:
        """Here now, and elsewhere soon."""
