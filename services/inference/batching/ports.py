"""What batches need of the world."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.chassis.eventlog.port import Claim, Condition, Kept, Key, Letter
from services.inference.domain.batch import Batch, Created, Event, Item, State


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch as its log has it, with what is asked for."""

    batch: Batch
    items: Sequence[Item]


class BatchLog(Protocol):
    """The histories of batches, with what is shown of them."""

    async def begin(self, created: Created, request: bytes, key: Key | None = None) -> Batch:
        """Start a log. `request` is what was asked for, as it came over the wire.

        Raises:
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`; see `kept`.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """What an idempotency key stands for."""

    async def load(self, tenant: str, batch_id: str) -> Loaded:
        """A batch as it stands.

        Raises:
            NotFound: `BATCH_NOT_FOUND`; also of one that was deleted.
            Internal: `BATCH_CORRUPT`; its events cannot be read, or cannot have happened.
        """

    async def append(
        self, loaded: Loaded, events: Sequence[Event], *, claim: Claim | None = None
    ) -> Loaded:
        """Add what happened, for the worker that has the claim, or to a batch that has ended.

        Raises:
            Aborted: `CLAIM_LOST`, `SEQUENCE_CONFLICT`.
        """

    async def state(self, tenant: str, batch_id: str) -> State:
        """Where it stands. Raises NotFound `BATCH_NOT_FOUND`."""

    async def unended(self, tenant: str, most: int) -> int:
        """How many batches of a tenant have not ended; no more than `most` are counted."""

    async def shown(self, tenant: str, batch_id: str) -> bytes:
        """A batch as it goes over the wire. Raises NotFound `BATCH_NOT_FOUND`."""

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Batches as they go over the wire, the newest first."""

    async def items(
        self, tenant: str, batch_id: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Items as they go over the wire, in their order. Raises NotFound `BATCH_NOT_FOUND`."""

    def watch(self, tenant: str, batch_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """Events after a sequence as they go over the wire, and those to come, until it ends.
        Raises NotFound `BATCH_NOT_FOUND`."""


class BatchDesk(Protocol):
    """Claims of batches and their inboxes, for this process's worker."""

    async def find(self, limit: int) -> Sequence[Claim]:
        """Take up batches that nobody works on."""

    async def renew(self) -> Sequence[Claim]:
        """Keep what this worker has, and say what that is."""

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give batches back."""

    async def ask_to_cancel(self, tenant: str, batch_id: str, reason: str) -> bool:
        """Have whoever works on a batch cancel it, now or later; False if it has ended."""

    async def letters(self) -> Sequence[Letter]:
        """What the batches of this worker were told."""

    async def rung(self) -> None:
        """Wait until there may be letters."""
