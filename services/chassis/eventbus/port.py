"""What a service needs of an event bus. Adapters pass `tests/contract/chassis/eventbus`."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """Where a bus keeps a message, for people who look for it."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message on a topic."""

    topic: str
    key: str
    """Messages with the same key stay in order."""
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    place: Place | None = field(default=None, compare=False)
    """Of one that was received, where the bus knows."""


class Consumer(Protocol):
    """One member of a group. Each message reaches one member, at least once."""

    async def next(self, limit: int = 100) -> Sequence[Message]:
        """The next messages; waits until there is one. What was not committed comes again after
        the consumer is closed."""

    async def commit(self) -> None:
        """Everything `next` has returned is dealt with.

        What another member was given meanwhile comes again, there.

        Raises:
            Unavailable: `EVENT_BUS_UNAVAILABLE`; it comes again, or commit again.
        """

    def lag(self) -> int:
        """How many messages wait for this member that it has not committed, as far as it knows."""


class EventBus(Protocol):
    """Topics that keep messages until every group has dealt with them."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send in this order. On return they survive what the adapter promises to survive.

        Of a key, none is sent before those ahead of it have arrived. So whoever repeats a failed
        `publish` from its start repeats messages, and neither loses nor reorders their first
        arrivals.

        Raises:
            InvalidArgument: `MESSAGE_TOO_LARGE`, `TOPIC_INVALID`; the bus will never take it.
            FailedPrecondition: `TOPIC_MISSING`; there is none, and the bus makes none.
            PermissionDenied: `EVENT_BUS_FORBIDDEN`.
            ResourceExhausted: `EVENT_BUS_FULL`; a topic's backlog is at its bound. None was sent.
            Unavailable: `EVENT_BUS_UNAVAILABLE`; some may have been sent.
        """

    def consume(self, topic: str, *, group: str) -> AbstractAsyncContextManager[Consumer]:
        """Join a group. A new group starts with the messages sent from then on.

        Raises:
            As `publish`.
        """

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            As `publish`.
        """
