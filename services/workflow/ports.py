"""What the use cases and the worker need of the world."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from services.chassis.eventlog.port import Claim, Condition, Kept, Key
from services.workflow.domain.advance import Decided
from services.workflow.domain.definition import Action, Definition
from services.workflow.domain.instance import Instance
from services.workflow.domain.outcomes import Outcome
from services.workflow.domain.verification import Beside, Recorded


@dataclass(frozen=True, slots=True)
class Loaded:
    """A workflow as its log has it."""

    definition: Definition
    instance: Instance
    head: str
    """The SHA-256, in hexadecimal, of its last event as it is stored."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A workflow after an append."""

    loaded: Loaded
    claim: Claim | None
    """Who works on it now: this process's worker, or another's, whose owner the claim names; None
    where nobody does."""


class DefinitionStore(Protocol):
    """Definitions and their versions. A version never changes, so readers may keep it."""

    async def add(self, tenant: str, owner: str, definition: Definition) -> Definition:
        """Store the next version, and return it; the newest, where that is the same document.

        Raises:
            ResourceExhausted: `TOO_MANY_DEFINITIONS`, `TOO_MANY_DEFINITION_VERSIONS`.
            Aborted: `DEFINITION_CONFLICT`.
        """

    async def get(self, tenant: str, name: str, version: int = 0) -> Definition:
        """One version; 0 for the newest.

        Raises:
            NotFound: `DEFINITION_NOT_FOUND`, `DEFINITION_VERSION_NOT_FOUND`.
        """

    async def shown(self, tenant: str, name: str, version: int = 0) -> bytes:
        """The same as it goes over the wire."""

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """The newest versions by name, as they go over the wire."""


class WorkflowLog(Protocol):
    """The histories of workflows, with what is kept beside: snapshot, projection, outbox, work.

    What an append says of work follows from `next_step`: a workflow with something to do goes to
    this process's worker where `takes` says that it has room, else left to any; one that rests
    is left until its time comes; one that is over wants nobody.
    """

    async def begin(
        self, definition: Definition, decided: Decided, *, takes: bool, key: Key | None = None
    ) -> Appended:
        """Start a log.

        Raises:
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`; see `kept`.
            ResourceExhausted: `OUTBOX_FULL`.
        """

    async def load(self, tenant: str, workflow_id: str, *, is_fresh: bool = False) -> Loaded:
        """A workflow as it stood lately, which is good enough for an append to be tried; with
        `is_fresh`, as it stands.

        Raises:
            NotFound: `WORKFLOW_NOT_FOUND`.
            Internal: `WORKFLOW_CORRUPT`; its events cannot be read, or cannot have happened.
        """

    async def append(
        self,
        loaded: Loaded,
        decided: Decided,
        *,
        takes: bool = False,
        claim: Claim | None = None,
        key: Key | None = None,
    ) -> Appended:
        """Add what was decided. With a claim: for the worker that has it, which keeps it as long as
        there is something to do. Without: for anybody; a worker that has it keeps it.

        Raises:
            Aborted: `SEQUENCE_CONFLICT`; it has moved on: load it again. `CLAIM_LOST`.
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`.
            ResourceExhausted: `OUTBOX_FULL`; not with a claim, nor of a cancel.
        """

    async def repair(self, loaded: Loaded, decided: Decided) -> Appended:
        """The same without a claim, and with a snapshot, whether one is due or not."""

    async def abandon(self, claim: Claim) -> None:
        """Give back a workflow that cannot be read, for nobody to take up until somebody has
        recorded something again or the verifier has found it whole.

        Raises:
            Aborted: `CLAIM_LOST`.
        """

    async def resume(self, tenant: str, workflow_id: str) -> Appended | None:
        """Have one that was abandoned, and can be read again, taken up; None where it was not.

        Raises:
            Aborted: `SEQUENCE_CONFLICT`; somebody moves it already.
            Internal: `WORKFLOW_CORRUPT`; it cannot be read yet.
        """

    async def kept(self, tenant: str, key: Key) -> Kept | None:
        """What an idempotency key stands for."""

    async def shown(self, tenant: str, workflow_id: str) -> bytes:
        """A workflow as lists show it and as it goes over the wire.

        Raises:
            NotFound: `WORKFLOW_NOT_FOUND`.
        """

    async def page(
        self, tenant: str, where: Condition | None, *, after: str, limit: int
    ) -> Sequence[tuple[str, bytes]]:
        """Workflows as they go over the wire, the newest first."""

    async def events(
        self, tenant: str, workflow_id: str, *, after: int, limit: int
    ) -> Sequence[bytes]:
        """Events as they are stored and go over the wire. Raises as `load`."""

    def watch(self, tenant: str, workflow_id: str, *, after: int) -> AsyncGenerator[bytes, None]:
        """The same, and those to come, until the workflow ends. Raises as `load`."""


class Histories(Protocol):
    """The same for whoever verifies them: what is stored, and not what it ought to mean."""

    async def beside(self, tenant: str, workflow_id: str) -> Beside:
        """What is kept beside the events."""

    def pages(self, tenant: str, workflow_id: str) -> AsyncGenerator[Sequence[Recorded], None]:
        """All events in their order, some at a time; none where there is no such workflow."""

    async def every(
        self, *, after: tuple[str, str] = ("", ""), limit: int
    ) -> Sequence[tuple[tuple[str, str], int]]:
        """Workflows of all tenants by tenant and id, those after this one: each with a number that
        changes, in this process, with what is shown of it."""

    async def abandoned(self) -> Sequence[tuple[str, str]]:
        """Workflows that were abandoned and not resumed yet."""

    async def unshown(
        self, *, after: int = 0, limit: int
    ) -> tuple[Sequence[tuple[str, str]], int | None]:
        """Workflows that lists do not show, of those that the next `limit` events after a position
        of the store began; and the position to go on from, None at the end."""


class Turn(Protocol):
    """What one process at a time does."""

    async def is_ours(self) -> bool:
        """Whether this is the process, for a while from now on."""

    async def give_back(self) -> None:
        """Let another be it at once."""


class Desk(Protocol):
    """Claims of workflows, for this process's worker."""

    @property
    def owner(self) -> str:
        """The worker."""

    async def find(self, limit: int) -> Sequence[Claim]:
        """Take up workflows that are due and that nobody works on."""

    async def renew(self) -> Sequence[Claim]:
        """Keep what this worker has, and say what that is."""

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give workflows back."""

    async def wake(self, claim: Claim) -> None:
        """Tell the worker that has a workflow to look at it again."""

    async def woken(self) -> Sequence[tuple[str, str]]:
        """Wait until there may be something to look at; the tenant and id of those named."""

    async def due_in(self) -> timedelta | None:
        """When the next workflow that nobody works on is due."""

    async def waiting(self) -> int:
        """How many workflows are due and have nobody who works on them."""


class Actions(Protocol):
    """Whoever does actions of one kind, out there."""

    async def run(
        self, action: Action, given: Mapping[str, object], *, key: str, instance: Instance
    ) -> Outcome:
        """Do it once, within its timeout, or go on with what was begun with this key. `given` is
        its input, filled in. Cancelling this ends a call; what goes on out there whoever watches
        goes on, for whoever has the workflow next. It never raises but for that."""

    async def stop(self, action: Action, *, key: str, instance: Instance) -> None:
        """Nobody wants it any more, whoever began it: end what goes on out there, as far as it can
        be. It never raises."""


class Children(Protocol):
    """Workflows that actions of others are."""

    async def start(
        self, action: Action, data: Mapping[str, object], *, key: str, parent: Instance
    ) -> "str | Outcome":
        """Start it, or find it started with this key: its id; or why it cannot be."""

    async def find(self, action: Action, *, key: str, parent: Instance) -> str:
        """The id of the one that was started with this key; empty if none was."""

    async def ended(self, tenant: str, workflow_id: str) -> Outcome | None:
        """What came of it; None while it goes on."""

    async def tell(self, tenant: str, workflow_id: str) -> None:
        """Tell the workflow that started this one, if this one has ended."""

    async def cancel(self, tenant: str, workflow_id: str, reason: str) -> None:
        """End it; nothing, if it has ended. Raises `ServiceError` where that cannot be said."""
