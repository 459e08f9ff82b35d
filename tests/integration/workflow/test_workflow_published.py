"""What other systems see of workflows, on the in-process bus and on Kafka."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from runplane.workflow.v1 import definitions_pb2 as dpb
from runplane.workflow.v1 import events_pb2
from runplane.workflow.v1 import workflow_pb2 as pb

from services.workflow.settings import EventSettings
from tests.integration.workflow.buses import Outside, headed, outside, said
from tests.integration.workflow.world import DOCUMENTS, SHARED, kinds, plain, refused, started
from tests.servers.ports import free

TOPIC = "document-events"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def documents(topic: str) -> str:
    return DOCUMENTS.replace(TOPIC, topic)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=["memory", "kafka"], scope="module", loop_scope="module")
async def there(request: pytest.FixtureRequest) -> AsyncIterator[Outside]:
    """A service on each bus."""
    async with outside(request.param) as found:
        yield found


async def test_every_event_arrives_with_the_shape_that_users_see(there: Outside) -> None:
    await there.world.define(DOCUMENTS + "events: {review: document_reviewed}")
    async with there.listening(TOPIC) as ear:
        started = await there.world.start(
            "document_processing",
            {"doc_id": "doc_123"},
            correlation_id="c-1",
            metadata={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )
        await there.world.signal(started, target="review", payload={"pages": 3})
        await there.world.approve(started, comment="fine")
        heard = await ear.until(4)

    log = await there.world.log(started)
    name = started.workflow_id
    assert [each.key for each in heard] == [name] * 4
    assert headed(heard, "ce_id") == [f"{name}/{number}" for number in (1, 2, 3, 4)]
    assert headed(heard, "ce_type") == [event.event_type for event in log]
    assert headed(heard, "ce_subject") == [name] * 4
    assert headed(heard, "ce_specversion") == ["1.0"] * 4
    assert headed(heard, "ce_tenant") == ["default"] * 4
    assert headed(heard, "ce_correlationid") == ["c-1"] * 4
    assert headed(heard, "content-type") == ["application/json"] * 4
    assert headed(heard, "traceparent")[0][3:35] == TRACE
    assert all(headed(heard, "traceparent"))


async def test_the_value_is_the_event_as_the_edge_shows_it(there: Outside) -> None:
    await there.world.define(documents("values") + "events: {review: document_reviewed}")
    async with there.listening("values") as ear:
        started = await there.world.start("document_processing", correlation_id="c-1")
        await there.world.signal(started, target="review", payload={"doc_id": "doc_123"})
        value = said((await ear.until(2))[1])

    expected = {
        "event_type": "document_reviewed",
        "workflow_id": started.workflow_id,
        "sequence": 2,
        "tenant": "default",
        "correlation_id": "c-1",
        "payload": {"doc_id": "doc_123"},
        "status": "waiting",
        "previous_state": "draft",
        "next_state": "review",
        "orchestrator": "local",
    }
    assert {name: value[name] for name in expected} == expected
    assert value["timestamp"].endswith("Z")
    assert set(value["metrics"]) == {
        "transition_time_ms",
        "validation_time_ms",
        "compensation_time_ms",
    }


async def test_an_action_that_is_an_event_is_published_as_that_event(there: Outside) -> None:
    async with there.listening("told") as ear:
        started = await there.world.run(
            "name: tells\nevent_source: kafka://events/told\nstate_machine:\n"
            "  a: {on_enter: [{event: order_seen, payload: {id: '${data.id}'}, save_as: told,"
            " compensation: {event: order_unseen, payload: {was: '${output.id}'}}}],"
            " on_success: b}\n  b: {terminal: failure}",
            {"id": 7},
        )
        done = await there.world.ended(started)
        heard = await ear.until(done.last_sequence)

    told = {
        value["event_type"]: value["payload"] for value in map(said, heard) if "payload" in value
    }
    assert (told["order_seen"], told["order_unseen"]) == ({"id": 7}, {"was": 7})
    assert plain(done.data) == {"id": 7, "told": {"id": 7}}
    assert "order_seen" in headed(heard, "ce_type")
    assert "action_compensated" in kinds(await there.world.log(started))


async def test_where_there_is_no_source_nothing_is_published(there: Outside) -> None:
    async with there.listening("loud") as ear:
        await there.world.run("name: quiet\nstate_machine: {a: {transitions: [b]}}")
        loud = await there.world.run(documents("loud"))
        heard = await ear.until(1)

    assert headed(heard, "ce_subject") == [loud.workflow_id]


@pytest.mark.parametrize("kind", ["memory", "kafka"])
async def test_the_value_may_be_protobuf(kind: str) -> None:
    async with outside(kind, EventSettings(format="protobuf")) as there:
        await there.world.define(DOCUMENTS)
        async with there.listening(TOPIC) as ear:
            started = await there.world.start("document_processing", {"doc_id": "doc_123"})
            (message,) = await ear.until(1)
        (stored,) = (await there.world.events(started)).events

    assert message.headers["content-type"] == "application/protobuf"
    assert events_pb2.WorkflowEvent.FromString(message.value) == stored


async def test_a_source_whose_alias_is_unknown_is_refused() -> None:
    yaml = DOCUMENTS.replace("kafka://events/", "kafka://elsewhere/")
    async with outside("kafka") as there:
        for more in (False, True):
            request = dpb.CreateDefinitionRequest(yaml=yaml, validate_only=more)
            refusal = await refused(there.world.definitions.CreateDefinition(request, timeout=5))
            assert refusal.what == ("INVALID_ARGUMENT", "EVENT_BUS_UNKNOWN")
            assert refusal.metadata["field"] == "yaml.event_source"
            assert "events" in refusal.metadata["suggested_fix"]


async def test_a_bus_that_is_away_sheds_starts_and_lets_what_began_go_on() -> None:
    few = EventSettings(most_per_partition=3)
    shared = SHARED.model_copy(update={"event_bus": f"kafka://127.0.0.1:{free()}"})
    async with started(shared, events=few) as world:
        await world.define(DOCUMENTS)
        began = [await world.start("document_processing") for _ in range(3)]
        shed = await refused(world.start("document_processing"))
        signal = await refused(world.signal(began[0], target="review"))
        told = pb.PublishEventRequest(event_type="x", correlation_id="c")
        for _ in range(3):
            await world.workflows.PublishEvent(told, timeout=5)
        event = await refused(world.workflows.PublishEvent(told, timeout=5))
        canceled = await world.cancel(began[0])

    assert shed.what == signal.what == event.what == ("RESOURCE_EXHAUSTED", "OUTBOX_FULL")
    assert canceled.status == "canceled"
    assert shed.has_retry
    assert (began[2].status, began[2].last_sequence) == ("waiting", 1)
