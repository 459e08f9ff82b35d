"""What a service needs of an event store. Adapters pass `tests/contract/chassis/eventlog`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from services.chassis.eventbus.port import Message
from services.chassis.eventlog.measures import Measures
from services.chassis.eventlog.tallies import Held, Hold, Tally


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append."""

    type: str
    """A name that is kept for ever, with its version: `task.started.v1`."""
    time: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of a stream."""

    tenant: str
    stream_id: str
    sequence: int
    position: int
    type: str
    time: datetime
    body: bytes

    @property
    def id(self) -> str:
        """Names this event everywhere (its CloudEvents id)."""
        return f"{self.stream_id}/{self.sequence}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a stream's events up to `sequence` add up to."""

    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """That a stream wants a worker, from when on, and who has it already."""

    kind: str
    """What kind of worker, such as `task`."""
    owner: str = ""
    """The worker that starts with it; empty for any."""
    lease: timedelta = timedelta(0)
    """How long that one has it without renewing."""
    delay: timedelta = timedelta(0)
    """How long nobody is to take it up; a letter ends the wait."""
    is_shared: bool = False
    """That whoever has the stream now, and whose lease has not run out, keeps its claim and lease;
    the stream is then due at once, for when that one is through. For those who write without a
    claim: events make whoever has it read again, for its next append expects too little. Where
    there are none to tell it (`events` is empty), send a letter instead."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to a stream, for one worker at a time."""

    tenant: str
    stream_id: str
    owner: str
    epoch: int
    """Counts the claims of a stream from 1. An older one writes no more."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What somebody wants of the worker that has a stream."""

    tenant: str
    stream_id: str
    number: int
    """Orders the letters of a stream."""
    kind: str
    body: bytes


MOST_LETTERS: Final = 256
"""How many letters may lie in an inbox, unless the sender says otherwise."""

OUTBOX: Final = "outbox"
"""The owner that `rung` wakes for an append of this process that has messages to tell."""

Attribute = str | float | bool


@dataclass(frozen=True, slots=True)
class Record:
    """What lists show of one thing, and what they can be filtered by."""

    kind: str
    """Such as `task`."""
    id: str
    attributes: Mapping[str, Attribute]
    body: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key: that the same start, or the same change, was asked for before."""

    scope: str
    """What is started, such as `task`, or changed, such as a workflow by its id."""
    key: str
    fingerprint: str
    """Of the request; the same key with another one is another request."""
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class Kept:
    """What a key stands for already."""

    stream_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Append:
    """One transaction: events for the end of one stream, and what else goes with them."""

    tenant: str
    stream_id: str
    expected: int
    """The sequence the stream ends with now; 0 starts it."""
    events: Sequence[NewEvent]
    snapshot: bytes | None = None
    """What the stream adds up to after these events."""
    claim: Claim | None = None
    """Under which claim this is written; None for whoever starts a stream."""
    work: Work | None = None
    """That the stream wants a worker from now on. With a claim: gives it back, for `delay`."""
    is_done: bool = False
    """That the stream wants no worker any more. Its letters go with the work."""
    answered: Sequence[int] = ()
    """The letters that these events deal with."""
    records: Sequence[Record] = ()
    """To be kept in place of those with the same kind and id, which are this stream's alone."""
    outbox: Sequence[Message] = ()
    """What the event bus is to be told."""
    key: Key | None = None
    """What this start can be found by."""
    tallies: Sequence[Tally] = ()
    """What is to be added up."""
    spent: Sequence[str] = ()
    """The holds that end with it, by their ids."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which records to list, ordered by id."""

    tenant: str
    kind: str
    where: "Condition | None" = None
    after: str = ""
    """The id that the page before ended with; empty for the first page."""
    limit: int = 50
    is_descending: bool = True
    max_bytes: int | None = None
    """The page ends with the record whose body takes it over this; None: it has `limit`."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A record's attribute held against a value. A record without the attribute does not match,
    except with `!=`."""

    attribute: str
    operator: str
    """`=`, `!=`, `<`, `<=`, `>` or `>=`."""
    value: Attribute


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold."""

    conditions: Sequence["Condition"]


@dataclass(frozen=True, slots=True)
class Some:
    """One of these holds."""

    conditions: Sequence["Condition"]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    condition: "Condition"


Condition = Compare | Every | Some | Not


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that the event bus has not been told yet."""

    number: int
    message: Message


class EventStore(Protocol):
    """Append-only streams. What `append` has returned for survives a crash of the process, as far
    as the adapter promises durability; every adapter promises that it is visible to all readers.

    Every method raises Unavailable `EVENT_STORE_UNAVAILABLE` when the store cannot be reached.
    """

    @property
    def measures(self) -> Measures:
        """What appends to it take, in this process."""

    async def append(self, batch: Append) -> Claim | None:
        """Do all of it, or none. With work: the claim that holds afterwards, if anybody has one:
        that of the work's owner or, of shared work, that of whoever keeps it, for whom it rings.

        Raises, the first that holds:
            AlreadyExists: `IDEMPOTENCY_KEY_TAKEN`; see `kept`. So what is asked for again is known
                again, though its stream has moved on.
            Aborted: `CLAIM_LOST`; somebody else has the stream now.
            Aborted: `SEQUENCE_CONFLICT`; the stream does not end with `expected`.
            Unavailable: `EVENT_STORE_UNAVAILABLE`; nothing is known of the outcome.
        """

    async def read(
        self, tenant: str, stream_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[StoredEvent]:
        """Events of a stream with a sequence above `after`, in order; empty if there are none."""

    async def read_all(self, *, after: int = 0, limit: int = 1000) -> Sequence[StoredEvent]:
        """Events of all tenants with a position above `after`, in the order of commits.

        An event that is committed later never gets a position below one already read.
        """

    async def snapshot(self, tenant: str, stream_id: str) -> Snapshot | None:
        """The newest snapshot of a stream."""

    async def kept(self, tenant: str, scope: str, key: str) -> Kept | None:
        """What an idempotency key stands for, unless it has expired."""

    async def claim(
        self, kind: str, owner: str, *, limit: int, lease: timedelta
    ) -> Sequence[Claim]:
        """Take up at most `limit` streams that nobody works on, those that wait longest first."""

    async def take(
        self, tenant: str, stream_id: str, owner: str, *, lease: timedelta
    ) -> Claim | None:
        """Take up this stream, due or not; None if somebody works on it or nobody needs to."""

    async def renew(self, owner: str, *, lease: timedelta) -> Sequence[Claim]:
        """Keep all that this owner has for another `lease`; what it has now.

        A lease that ran out and was not taken up by another is good again.
        """

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give streams back, for anybody to take up at once. Those held no more are passed over."""

    async def waiting(self, kind: str) -> int:
        """How many streams want a worker and have none."""

    async def due_in(self, kind: str) -> timedelta | None:
        """How long until the next stream that nobody works on is due; nothing if one is already,
        None if none waits. A lease that runs out and what others append can come before."""

    async def send(
        self, tenant: str, stream_id: str, kind: str, body: bytes, *, most: int = MOST_LETTERS
    ) -> str | None:
        """Put a letter into a stream's inbox; the owner to wake, empty if nobody works on it.

        None: the stream wants no worker (any more), or there is no such stream.

        Raises:
            ResourceExhausted: `INBOX_FULL`, with RetryInfo; `most` letters lie there already.
        """

    async def letters(
        self, owner: str, *, stream_id: str = "", known: Collection[int] = ()
    ) -> Sequence[Letter]:
        """The letters for the streams that an owner has, or for one of them, in the order they
        came; those whose numbers are `known` are left out."""

    async def rung(self, owner: str) -> None:
        """Wait until there may be letters for an owner, or work that others share with it, wherever
        they come from.

        It may miss some, and then waits on: look now and then all the same.
        """

    async def record(self, tenant: str, kind: str, record_id: str) -> Record | None:
        """One record."""

    async def records(self, query: Query) -> Sequence[Record]:
        """A page of records."""

    async def every(
        self, kind: str, *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> Sequence[tuple[str, Record]]:
        """Records of all tenants, each with its tenant, in the order of tenants and ids: those
        after this tenant and id. One that is added while they are walked may be passed over."""

    async def outgoing(self, *, after: int = 0, limit: int = 100) -> Sequence[Outgoing]:
        """The oldest messages that are still to be told, in the order of commits; those with a
        number above `after`. One that is committed later never gets a number below one read."""

    async def backlog(self) -> Mapping[str, int]:
        """How many messages are still to be told, by topic; no topic has none."""

    async def told(self, numbers: Sequence[int]) -> None:
        """Forget messages that the event bus has taken."""

    async def hold(self, tenant: str, hold: Hold) -> Held:
        """Keep amounts free until an append says that they are `spent`, if all of them fit: of two
        that do not fit together one gets them, wherever they are asked for."""

    async def tallied(
        self, tenant: str, first: str, last: str, *, limit: int = 1000
    ) -> Sequence[Tally]:
        """The tallies of a range of names, both included, ordered by name."""
