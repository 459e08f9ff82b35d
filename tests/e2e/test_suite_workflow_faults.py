"""Workflow services, PostgreSQL and Kafka fail at random moments under load; every workflow still
ends, once, with what it did undone where it failed, and every event told in its order."""

import asyncio
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from runplane.workflow.v1 import workflow_pb2 as pb
from runplane.workflow.v1 import workflow_pb2_grpc as pb_grpc

from services.chassis.errors import Unavailable
from services.chassis.eventbus.open import event_bus
from services.chassis.eventbus.port import Consumer
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import EventStore
from services.workflow.domain import events as ev
from tests.e2e.replicas import patiently
from tests.e2e.sagas import (
    TOPIC,
    YAML,
    History,
    by_order,
    check_effects,
    check_history,
    check_once,
    definition,
    given,
    histories,
)
from tests.e2e.workflows import Engine, add_tool, client, define, engine
from tests.servers.counting import Counting, counting
from tests.servers.kafka import kafka
from tests.servers.postgres import Postgres, postgres
from tests.servers.proxy import Proxy, proxy

INSTANCES = int(os.environ.get("RUNPLANE_FAULT_INSTANCES", "500"))
LOAD_SECONDS = 6
SECONDS = 60 + INSTANCES / 10
OPEN = "status = running OR status = waiting OR status = compensating"

Harm = Callable[[], Awaitable[None]]
Harms = Sequence[tuple[Harm, int]]


class Heard:
    """What arrived on the topic: of each workflow, the sequences in the order they came first."""

    def __init__(self) -> None:
        self.count = 0
        self.firsts: dict[str, dict[int, None]] = defaultdict(dict)

    async def listen(self, consumer: Consumer) -> None:
        """Until cancelled."""
        while True:
            for message in await consumer.next(limit=500):
                workflow_id, _, sequence = message.headers["ce_id"].partition("/")
                assert message.key == workflow_id
                self.firsts[workflow_id].setdefault(int(sequence))
                self.count += 1
            with suppress(Unavailable):  # Then they come again.
                await consumer.commit()

    @property
    def total(self) -> int:
        """How many different events."""
        return sum(map(len, self.firsts.values()))


@asynccontextmanager
async def broker() -> AsyncIterator[tuple[Proxy, str, Heard]]:
    """A Kafka behind a proxy, and one that notes what arrives there."""
    async with proxy() as between:
        with kafka(advertised=between.port) as server:
            between.target = server.port
            async with event_bus(server.url) as bus, bus.consume(TOPIC, group="heard") as consumer:
                heard = Heard()
                async with asyncio.TaskGroup() as group:
                    listening = group.create_task(heard.listen(consumer))
                    yield between, server.url, heard
                    listening.cancel()


async def load(stub: "pb_grpc.WorkflowServiceAsyncStub", dice: random.Random) -> None:
    """Many sagas, spread over a few seconds; each is asked for under a key until it is accepted."""

    async def start(number: int) -> None:
        request = pb.StartWorkflowRequest(definition="saga", idempotency_key=f"start {number}")
        request.data.update(given(f"order-{number}", dice))
        await asyncio.sleep(dice.random() * LOAD_SECONDS)
        await patiently(lambda: stub.StartWorkflow(request, timeout=10))

    await asyncio.gather(*(start(number) for number in range(INSTANCES)))


async def ended(stub: "pb_grpc.WorkflowServiceAsyncStub") -> None:
    """Wait until none goes on."""
    request = pb.ListWorkflowsRequest(filter=OPEN, page_size=1)
    while (  # noqa: ASYNC110 - as a script would that has started many.
        await patiently(lambda: stub.ListWorkflows(request, timeout=10))
    ).workflows:
        await asyncio.sleep(0.1)


async def listed(stub: "pb_grpc.WorkflowServiceAsyncStub") -> AsyncIterator[pb.Workflow]:
    """All of them, as lists show them."""
    request = pb.ListWorkflowsRequest(page_size=500)
    while True:
        page = await patiently(lambda: stub.ListWorkflows(request, timeout=10))
        for each in page.workflows:
            yield each
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def mended(stub: "pb_grpc.WorkflowServiceAsyncStub", tool: Counting) -> None:
    """The tool refuses nothing more, and a person has that tried again which it refused."""
    tool.is_mended = True
    failed = [each async for each in listed(stub) if each.status == "compensation_failed"]
    for each in failed:
        request = pb.CompensateWorkflowRequest(workflow_id=each.workflow_id)
        await patiently(lambda request=request: stub.CompensateWorkflow(request, timeout=10))  # type: ignore[misc]
    await ended(stub)


async def repeatedly(harm: Harm, dice: random.Random, times: int) -> None:
    """Do harm, each time at a random moment."""
    for _ in range(times):
        await asyncio.sleep(0.2 + 1.3 * dice.random())
        await harm()


def killing(running: Engine, dice: random.Random) -> Harm:
    """One replica ends at once."""

    async def kill() -> None:
        victim = dice.choice(running.workflows).child
        assert victim is not None
        victim.kill()

    return kill


async def supervise(running: Engine) -> None:
    """Start what has ended, until cancelled, as `up` does: what is started while PostgreSQL is away
    ends at once."""
    while True:
        for each in running.workflows:
            if each.child is not None and each.child.poll() is not None:
                each.start()
        await asyncio.sleep(0.1)


def crashing(server: Postgres) -> Harm:
    """PostgreSQL ends at once and recovers."""

    async def crash() -> None:
        await asyncio.to_thread(server.crash)
        await asyncio.to_thread(server.start)

    return crash


def cutting(between: Proxy, dice: random.Random) -> Harm:
    """Kafka cannot be reached, or says nothing, for a while."""

    async def cut() -> None:
        dice.choice([between.refuse, between.swallow])()
        await asyncio.sleep(dice.random() * 2)
        between.resume()
        between.cut()

    return cut


async def survived(
    running: Engine, tool: Counting, heard: Heard, harms: Harms, dice: random.Random
) -> None:
    """Load it while harm is done to it, until all has ended and was told."""
    await add_tool(running, "count", tool.url)
    await define(running, YAML)
    async with asyncio.timeout(SECONDS), client(running) as stub, asyncio.TaskGroup() as group:
        supervising = group.create_task(supervise(running))
        async with asyncio.TaskGroup() as harming:
            for harm, times in harms:
                harming.create_task(repeatedly(harm, random.Random(dice.random()), times))
            await load(stub, dice)
        await ended(stub)
        await mended(stub, tool)
        events = sum([each.last_sequence async for each in listed(stub)])
        while heard.total < events:  # noqa: ASYNC110 - the topic tells nobody else.
            await asyncio.sleep(0.1)
        supervising.cancel()


async def judged(store: EventStore, tool: Counting, heard: Heard) -> list[History]:
    """Everything that is to hold, of what the store, the tool and the topic have."""
    found, saga = await histories(store), definition()
    assert len(found) == INSTANCES
    effects = by_order(tool)
    for each in found:
        check_history(each, saga)
        check_once(each)
        check_effects(each, effects)
        sequences = list(heard.firsts[each.record.workflow_id])
        assert sequences == list(range(1, len(each.stored) + 1)), "not in order on the topic"
    assert set(heard.firsts) == {each.record.workflow_id for each in found}
    return found


def report(found: Sequence[History], tool: Counting, heard: Heard) -> None:
    """What there was, for whoever runs this with `-s`."""
    statuses: Mapping[str, int] = Counter(each.record.status for each in found)
    resumed = sum(isinstance(each, ev.CompensationResumed) for one in found for each in one.events)
    events = sum(len(each.stored) for each in found)
    undone = sum(effect.is_undo for effect in tool.effects.values())
    repeated = sum(tool.calls.values()) - len(tool.calls)
    sys.stdout.write(
        f"\n{len(found)} sagas {dict(statuses)}, {resumed} of them after compensation_failed;"
        f" {events} events, {heard.count} messages on the"
        f" topic; {len(tool.effects) - undone} actions done, {undone} undone, {len(tool.refused)}"
        f" refused, {repeated} calls repeated with their key\n"
    )


async def test_no_saga_is_lost_with_two_replicas_on_a_postgresql_that_crashes(
    tmp_path: Path,
) -> None:
    dice = random.Random(1)
    with postgres() as server:
        async with broker() as (between, url, heard), counting() as tool:
            with engine(tmp_path, server.url, replicas=2, RUNPLANE_EVENT_BUS=url) as running:
                harms = [
                    (killing(running, dice), 4),
                    (crashing(server), 2),
                    (cutting(between, dice), 4),
                ]
                await survived(running, tool, heard, harms, dice)
        async with event_store(server.url, service="workflow") as store:
            found = await judged(store, tool, heard)

    report(found, tool, heard)


async def test_no_saga_is_lost_on_sqlite(tmp_path: Path) -> None:
    dice = random.Random(2)
    where = f"sqlite:///{tmp_path / 'data'}"
    async with broker() as (between, url, heard), counting() as tool:
        with engine(tmp_path, where, RUNPLANE_EVENT_BUS=url) as running:
            harms = [(killing(running, dice), 4), (cutting(between, dice), 4)]
            await survived(running, tool, heard, harms, dice)
    async with event_store(where, service="workflow") as store:
        found = await judged(store, tool, heard)

    report(found, tool, heard)
