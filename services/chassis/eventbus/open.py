"""Chooses the event bus's adapter by its URL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.eventbus.kafka_url import parsed, unsupported
from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.port import EventBus


@asynccontextmanager
async def event_bus(url: str, *, username: str = "", password: str = "") -> AsyncIterator[EventBus]:
    """The event bus at `url` (`RUNPLANE_EVENT_BUS`), until the context is left.

    `memory:`, or `kafka://…` with the user and the password of this service, unless the URL says.

    Raises:
        InvalidArgument: `EVENT_BUS_UNSUPPORTED`.
    """
    scheme = url.partition(":")[0]  # The rest may hold a password.
    if scheme == "memory":
        yield MemoryEventBus()
    elif scheme == "kafka":
        from services.chassis.eventbus import kafka  # noqa: PLC0415 - who needs none, loads none

        cluster = parsed(url, username=username, password=password)
        async with kafka.opened(cluster) as bus:
            yield bus
    else:
        raise unsupported(f"{scheme[:64]}: is not supported")
