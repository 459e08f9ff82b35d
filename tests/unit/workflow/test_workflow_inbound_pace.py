"""Events from outside are let in as fast as they are dealt with."""

from datetime import timedelta

import pytest

from services.chassis.errors import ResourceExhausted
from services.chassis.eventlog.backlog import Backlog
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.times import utc_now
from services.workflow.adapters.happenings import EventStoreHappenings
from services.workflow.usecases.happenings import Happening
from services.workflow.usecases.workflows import Caller

CALLER = Caller("default", "local", "0" * 31 + "1")
TOPIC = "events/signals"


async def test_while_too_many_wait_to_be_dealt_with_no_more_are_let_in() -> None:
    store, behind = MemoryEventStore(), 11
    kept = EventStoreHappenings(store, Backlog(10), TOPIC, utc_now, lambda: behind)

    with pytest.raises(ResourceExhausted) as caught:
        await kept.add(CALLER, Happening("evt_1", "paid", {}, "order_7"), None)

    assert caught.value.reason == "INBOUND_FULL"
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > timedelta(0)
    assert not await store.outgoing()

    behind = 10
    await kept.add(CALLER, Happening("evt_1", "paid", {}, "order_7"), None)

    assert [each.message.topic for each in await store.outgoing()] == [TOPIC]
