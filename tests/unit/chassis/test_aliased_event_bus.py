import asyncio

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.eventbus.aliases import AliasedEventBus, aliased_event_bus
from services.chassis.eventbus.memory import MemoryEventBus
from services.chassis.eventbus.port import Message


async def test_a_topic_is_found_on_the_bus_that_its_alias_names() -> None:
    events, billing = MemoryEventBus(), MemoryEventBus()
    bus = AliasedEventBus({"events": events, "billing": billing})
    async with (
        events.consume("t", group="g") as here,
        billing.consume("t", group="g") as there,
        asyncio.timeout(5),
    ):
        await bus.publish([Message("events/t", "k", b"1"), Message("billing/t", "k", b"2")])

        assert [each.value for each in await here.next()] == [b"1"]
        assert [each.value for each in await there.next()] == [b"2"]


async def test_what_was_published_under_an_alias_is_consumed_under_it() -> None:
    async with (
        aliased_event_bus("memory:", {}) as bus,
        bus.consume("billing/t", group="g") as billing,
        bus.consume("events/t", group="g") as events,
        asyncio.timeout(5),
    ):
        await bus.publish([Message("billing/t", "k", b"1"), Message("events/t", "k", b"2")])

        assert [each.value for each in await billing.next()] == [b"1"]
        assert [each.value for each in await events.next()] == [b"2"]


@pytest.mark.parametrize("topic", ["other/t", "t", "events/", "/t", ""])
async def test_an_alias_without_a_bus_is_an_error(topic: str) -> None:
    bus = AliasedEventBus({"events": MemoryEventBus()})

    with pytest.raises(InvalidArgument) as caught:
        bus.check(topic)

    assert caught.value.reason == "EVENT_BUS_UNKNOWN"
    assert caught.value.metadata["known"] == "events"


async def test_a_topic_without_a_name_is_an_error_on_a_laptop_as_well() -> None:
    async with aliased_event_bus("memory:", {}) as bus:
        bus.check("anything/t")
        with pytest.raises(InvalidArgument):
            bus.check("anything")
