"""One bus for several: the topic `alias/topic` is `topic` on the bus that settings call `alias`."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

from services.chassis.errors import InvalidArgument
from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import Consumer, EventBus, Message

DEFAULT: Final = "events"
"""The alias of `RUNPLANE_EVENT_BUS`."""


class AliasedEventBus:
    """See `EventBus`. An alias that settings do not name is InvalidArgument `EVENT_BUS_UNKNOWN`."""

    def __init__(self, buses: Mapping[str, EventBus], otherwise: EventBus | None = None) -> None:
        self._buses = buses
        self._otherwise = otherwise

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `EventBus`. What is for different buses goes to them at the same time."""
        by_bus: dict[EventBus, list[Message]] = defaultdict(list)
        for message in messages:
            bus, topic = self._found(message.topic)
            by_bus[bus].append(replace(message, topic=topic))
        sending = (bus.publish(group) for bus, group in by_bus.items())
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def consume(self, topic: str, *, group: str) -> AbstractAsyncContextManager[Consumer]:
        """See `EventBus`. Messages have the topic as their bus knows it, without the alias."""
        bus, name = self._found(topic)
        return bus.consume(name, group=group)

    async def partitions(self, topic: str) -> int:
        """See `EventBus`."""
        bus, name = self._found(topic)
        return await bus.partitions(name)

    def check(self, topic: str) -> None:
        """Whether a topic could be used, as far as settings say.

        Raises:
            InvalidArgument: `EVENT_BUS_UNKNOWN`.
        """
        self._found(topic)

    def _found(self, topic: str) -> tuple[EventBus, str]:
        alias, _, name = topic.partition("/")
        bus = self._buses.get(alias, self._otherwise)
        if bus is None or not name:
            known = ", ".join(sorted(self._buses))
            shown = alias[:64]
            message = f"there is no event bus {shown!r}; settings name {known}"
            raise InvalidArgument("EVENT_BUS_UNKNOWN", message, alias=shown, known=known)
        return bus, name if alias in self._buses else topic  # So that aliases stay apart.


@asynccontextmanager
async def aliased_event_bus(
    url: str, others: Mapping[str, str], *, username: str = "", password: str = ""
) -> AsyncIterator[AliasedEventBus]:
    """`events` at `url`, and each of the others at its own.

    Where `url` is `memory:` every alias that is not named is this process's bus, so that the same
    definitions run on a laptop; else one that is not named is an error.

    Raises:
        InvalidArgument: `EVENT_BUS_UNSUPPORTED`.
    """
    async with AsyncExitStack() as stack:
        buses: dict[str, EventBus] = {}
        for alias, each in {**others, DEFAULT: url}.items():
            opening = event_bus(each, username=username, password=password)
            buses[alias] = await stack.enter_async_context(opening)
        yield AliasedEventBus(buses, buses[DEFAULT] if url == "memory:" else None)
