"""A batch: many turns, an ordered log of what became of them, and what that adds up to. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.chassis.errors import FailedPrecondition, NotFound
from services.inference.domain.generation import Metrics, Usage
from services.inference.domain.request import Request

MAX_ITEMS: Final = 1_000
NOTHING: Final = Usage(0, 0)


class State(StrEnum):
    """Where a batch stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class ItemState(StrEnum):
    """What became of an item."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


CLOSED: Final = frozenset({State.COMPLETED, State.CANCELED, State.EXPIRED})
LEFT: Final = {State.CANCELED: ItemState.CANCELED, State.EXPIRED: ItemState.EXPIRED}
"""What becomes of the items that have not ended, where the batch ends before them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One turn that is asked for."""

    key: str
    request: Request


@dataclass(frozen=True, slots=True)
class Spec:
    """What a batch was started as."""

    batch_id: str
    tenant: str
    owner: str
    trace_id: str
    model: str
    """Of items that name none."""
    labels: Mapping[str, str]
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item failed."""

    code: str
    reason: str
    message: str
    suggested_fix: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item ended."""

    index: int
    state: ItemState
    attempts: int
    text: str = ""
    finish_reason: str = ""
    usage: Usage = NOTHING
    cost_usd: float = 0.0
    metrics: Metrics | None = None
    model: str = ""
    model_version: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a batch."""

    time: datetime


@dataclass(frozen=True, slots=True)
class Created(Event):
    """It was asked for."""

    spec: Spec
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Started(Event):
    """A worker took up its first item."""


@dataclass(frozen=True, slots=True)
class ItemEnded(Event):
    """An item ended."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """All is over."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Deleted(Event):
    """Nobody is to see it any more."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the events of a batch add up to."""

    spec: Spec
    total: int
    state: State
    sequence: int
    create_time: datetime
    update_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    ended: Mapping[int, ItemState] = field(default_factory=dict)
    """The items that have, by their index."""
    tally: Mapping[ItemState, int] = field(default_factory=dict)
    """How many of them there are of each state."""
    usage: Usage = NOTHING
    cost_usd: float = 0.0
    reason: str = ""
    is_deleted: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.state in CLOSED

    @property
    def counts(self) -> Mapping[ItemState, int]:
        """How many items there are, by what became of them."""
        return {**dict.fromkeys(ItemState, 0), **self.tally, ItemState.PENDING: self.left}

    @property
    def left(self) -> int:
        """How many items have not ended."""
        return self.total - len(self.ended)


# The whole state machine. A pair that is missing cannot happen.
_ALLOWED: Final[Mapping[type[Event], frozenset[State]]] = {
    Started: frozenset({State.PENDING}),
    ItemEnded: frozenset({State.RUNNING}),
    Ended: frozenset({State.PENDING, State.RUNNING}),
    Deleted: CLOSED,
}


def evolve(batch: Batch | None, event: Event) -> Batch:
    """The batch after an event.

    Raises:
        ValueError: that cannot have happened.
    """
    if isinstance(event, Created) and batch is None:
        return Batch(event.spec, len(event.items), State.PENDING, 1, event.time, event.time)
    if batch is None or batch.is_deleted or batch.state not in _ALLOWED.get(type(event), ()):
        raise ValueError(f"{type(event).__name__} cannot happen now")
    after = replace(batch, sequence=batch.sequence + 1, update_time=event.time)
    if isinstance(event, Started):
        return replace(after, state=State.RUNNING, start_time=event.time)
    if isinstance(event, ItemEnded):
        return _with(after, event.outcome)
    if isinstance(event, Ended):
        return _closed(after, event)
    return replace(after, is_deleted=True)


def _with(batch: Batch, outcome: Outcome) -> Batch:
    if outcome.index in batch.ended or not 0 <= outcome.index < batch.total:
        raise ValueError(f"item {outcome.index} has ended, or never was")
    used, more = batch.usage, outcome.usage
    usage = Usage(
        used.prompt_tokens + more.prompt_tokens,
        used.completion_tokens + more.completion_tokens,
        used.cached_tokens + more.cached_tokens,
    )
    return replace(
        batch,
        ended={**batch.ended, outcome.index: outcome.state},
        tally={**batch.tally, outcome.state: batch.tally.get(outcome.state, 0) + 1},
        usage=usage,
        cost_usd=batch.cost_usd + outcome.cost_usd,
    )


def _closed(batch: Batch, event: Ended) -> Batch:
    if (state := LEFT.get(event.state)) is None and batch.left:
        raise ValueError(f"{batch.left} items have not ended")
    ended = {**dict.fromkeys(range(batch.total), state or ItemState.COMPLETED), **batch.ended}
    return replace(
        batch,
        state=event.state,
        reason=event.reason,
        end_time=event.time,
        ended=ended,
        tally=Counter(ended.values()),
    )


def missing(batch_id: str) -> NotFound:
    """There is no such batch, or none any more."""
    return NotFound(
        "BATCH_NOT_FOUND",
        f"there is no batch {batch_id[:64]!r}",
        batch_id=batch_id[:64],
        field="batch_id",
        suggested_fix="see GET /v1/batches for those there are",
    )


def already_ended(batch_id: str, state: State) -> FailedPrecondition:
    """It cannot be canceled any more."""
    return FailedPrecondition(
        "BATCH_ALREADY_ENDED",
        f"{batch_id} is {state} already",
        batch_id=batch_id,
        status=state,
        suggested_fix="nothing is left to stop; read its items, or delete it",
    )


def not_ended(batch_id: str, state: State) -> FailedPrecondition:
    """It cannot be deleted yet."""
    return FailedPrecondition(
        "BATCH_NOT_ENDED",
        f"{batch_id} is {state}; only a batch that has ended can be deleted",
        batch_id=batch_id,
        status=state,
        suggested_fix="cancel it first",
    )
