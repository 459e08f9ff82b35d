"""Events from outside, on the in-process bus and on Kafka."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from runplane.workflow.v1 import workflow_pb2 as pb

from services.chassis.eventbus.port import Message
from services.workflow.usecases import happenings
from tests.integration.workflow.buses import (
    SIGNALS,
    Outside,
    binary,
    headed,
    outside,
    structured,
)
from tests.integration.workflow.world import kinds, plain, refused, struct

ORDERS = """
name: orders
initial: open
state_machine:
  open: {transitions: [open, paid], on: {order_paid: paid, order_changed: open}}
"""
STRICT = (
    ORDERS.replace("name: orders", "name: strict_orders")
    + """
schema: {properties: {by: {type: integer}}}
"""
)
OPEN = "open-order"
DEAD = f"{SIGNALS}.dead-letter"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def name() -> str:
    """A correlation id of a test's own."""
    return f"c-{uuid4().hex[:8]}"


@pytest_asyncio.fixture(params=["memory", "kafka"], scope="module", loop_scope="module")
async def there(request: pytest.FixtureRequest) -> AsyncIterator[Outside]:
    """A service on each bus, that knows orders."""
    async with outside(request.param) as found:
        await found.world.define(ORDERS)
        await found.world.define(STRICT)
        yield found


async def published(there: Outside, event_type: str, **fields: Any) -> str:
    payload = struct(fields.pop("payload", {}))
    request = pb.PublishEventRequest(event_type=event_type, payload=payload, **fields)
    return (await there.world.workflows.PublishEvent(request, timeout=5)).event_id


async def test_an_event_reaches_each_workflow_with_its_correlation_id(
    there: Outside, name: str
) -> None:
    both = [await there.world.start("orders", correlation_id=name) for _ in range(2)]
    other = await there.world.start("orders", correlation_id=f"{name}-2")

    event_id = await published(there, "order_paid", correlation_id=name, payload={"by": "card"})

    for each in both:
        done = await there.world.ended(each)
        assert (done.status, done.current_state) == ("completed", "paid")
        assert plain(done.data) == {"by": "card"}
        moved = (await there.world.log(each))[1]
        assert (moved.signal, moved.orchestrator) == ("order_paid", "event")
    assert event_id.startswith("evt_")
    assert (await there.world.get(other)).current_state == "open"


async def test_a_workflow_that_an_event_does_not_fit_keeps_it_from_no_other(
    there: Outside, name: str
) -> None:
    fits = await there.world.start("orders", correlation_id=name)
    strict = await there.world.start("strict_orders", correlation_id=name)

    await published(there, "order_paid", correlation_id=name, payload={"by": "card"})

    assert (await there.world.ended(fits)).current_state == "paid"
    assert (await there.world.get(strict)).current_state == "open"


async def test_an_event_may_be_for_one_workflow(there: Outside, name: str) -> None:
    one, other = [await there.world.start("orders", correlation_id=name) for _ in range(2)]

    await published(there, "order_paid", workflow_id=one.workflow_id)

    assert (await there.world.ended(one)).status == "completed"
    assert (await there.world.get(other)).status == "waiting"


async def test_an_event_that_is_published_again_with_its_key_is_told_once(
    there: Outside, name: str
) -> None:
    order = await there.world.start("orders", correlation_id=name)
    same = {"correlation_id": name, "idempotency_key": name}

    one = await published(there, "order_changed", **same)
    two = await published(there, "order_changed", **same)
    request = pb.PublishEventRequest(event_type="order_paid", **same)
    other = await refused(there.world.workflows.PublishEvent(request, timeout=5))
    await published(there, "order_paid", correlation_id=name)

    assert one == two
    assert other.what == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")
    assert kinds(await there.world.log(order)) == [
        "workflow_started",
        "transition",
        "transition",
        "workflow_ended",
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event_type": ""}, "event_type"),
        ({"event_type": "x" * 257}, "event_type"),
        ({"event_type": "a\nb"}, "event_type"),
        ({"correlation_id": ""}, "correlation_id"),
        ({"workflow_id": "wf_1"}, "correlation_id"),
        ({"correlation_id": "x" * 257}, "correlation_id"),
        ({"correlation_id": "a\0b"}, "correlation_id"),
        ({"payload": struct({"x": "x" * 300_000})}, "payload"),
        ({"payload": struct({"n": 2.0**60})}, "payload.n"),
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
    ],
)
async def test_what_nobody_could_be_told_is_refused(fields: dict[str, Any], field: str) -> None:
    async with outside("memory") as there:
        request = pb.PublishEventRequest(
            **({"event_type": "order_paid", "correlation_id": "c-1"} | fields)
        )

        refusal = await refused(there.world.workflows.PublishEvent(request, timeout=5))

    assert refusal.what == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert refusal.metadata["field"] == field
    assert refusal.metadata["suggested_fix"]


@pytest.mark.parametrize("make", [binary, structured])
async def test_cloudevents_of_both_modes_are_signals(there: Outside, name: str, make: Any) -> None:
    order = await there.world.start("orders", correlation_id=name)

    await there.says(make("order_paid", {"by": "card"}, correlationid=name))

    done = await there.world.ended(order)
    assert (done.current_state, plain(done.data)) == ("paid", {"by": "card"})


async def test_a_subject_names_one_workflow(there: Outside) -> None:
    order = await there.world.start("orders")

    await there.says(binary("order_paid", subject=order.workflow_id))

    assert (await there.world.ended(order)).status == "completed"


async def test_an_event_that_arrives_twice_counts_once(there: Outside, name: str) -> None:
    order = await there.world.start("orders", correlation_id=name)
    twice = binary("order_changed", key=name, correlationid=name)
    others = replace(twice, headers={**twice.headers, "ce_source": "/other"})

    for each in (twice, twice, others, binary("order_paid", key=name, correlationid=name)):
        await there.says(each)

    assert kinds(await there.world.log(order)).count("transition") == 3


async def test_an_event_for_a_workflow_whose_actions_run_is_kept(there: Outside, name: str) -> None:
    order = await there.world.run(
        "name: busy\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: busy}}], transitions: [b], on: {go: b}}",
        correlation_id=name,
    )
    await asyncio.wait_for(there.world.office.reached["busy"].wait(), 10)

    await published(there, "go", correlation_id=name)
    await there.world.met(order, "signal_deferred")
    there.world.office.gates["busy"].set()

    assert (await there.world.ended(order)).current_state == "b"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(SIGNALS, "k", b"garbage"), "CLOUDEVENT_INVALID"),
        (binary("order_paid", [1], correlationid=OPEN), "CLOUDEVENT_INVALID"),
        (binary("order_paid", {"n": 2**60}, correlationid=OPEN), "INVALID_REQUEST"),
        (binary("order_paid"), "INVALID_REQUEST"),
        (binary("order_paid", correlationid="nobody's"), "EVENT_FOR_NOBODY"),
        (binary("order_paid", correlationid=OPEN, tenant="acme"), "EVENT_FOR_NOBODY"),
        (binary("order_paid", subject="wf_nothing"), "WORKFLOW_NOT_FOUND"),
        (binary("order_lost", correlationid=OPEN), "TRANSITION_NOT_ALLOWED"),
    ],
    ids=["garbage", "list", "number", "no one", "nobody", "tenant", "missing", "nowhere"],
)
async def test_what_cannot_be_signalled_is_set_aside_and_the_rest_goes_on(
    there: Outside, name: str, message: Message, reason: str
) -> None:
    order = await there.world.start("orders", correlation_id=name)
    await there.world.start("orders", correlation_id=OPEN)
    async with there.listening(DEAD) as ear:
        await there.says(message)
        await there.says(binary("order_paid", correlationid=name))
        done = await there.world.ended(order)
        (letter,) = await ear.until(1)

    assert done.status == "completed"
    assert letter.value == message.value
    assert headed([letter], "reason") == [reason]
    assert letter.headers["original-topic"] == f"events/{SIGNALS}"
    assert letter.headers["error"]


async def test_a_workflow_that_keeps_enough_signals_holds_up_nobody(
    there: Outside, name: str
) -> None:
    other = await there.world.start("orders", correlation_id=f"{name}-2")
    full = await there.world.run(
        "name: full\nstate_machine:\n"
        "  a: {on_enter: [{tool: do, input: {wait: full}}], transitions: [b], on: {go: b}}",
        correlation_id=name,
    )
    await asyncio.gather(*(there.world.signal(full, event="go") for _ in range(100)))

    await published(there, "go", correlation_id=name)
    await published(there, "order_paid", correlation_id=f"{name}-2")

    assert (await there.world.ended(other)).current_state == "paid"
    assert (await there.world.get(full)).deferred_signals == 100
    there.world.office.gates["full"].set()


async def test_an_event_for_more_workflows_than_it_may_be_for_is_told_to_none(
    there: Outside, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happenings, "MOST", 2)
    all_of_them = [await there.world.start("orders", correlation_id=name) for _ in range(3)]

    async with there.listening(DEAD) as ear:
        await published(there, "order_paid", correlation_id=name)
        (letter,) = await ear.until(1)

    assert letter.headers["reason"] == "EVENT_FOR_TOO_MANY"
    for each in all_of_them:
        assert (await there.world.get(each)).current_state == "open"
