"""Operations over an event store in memory: done, failed, cancelled, taken over."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from services.chassis import ids
from services.chassis.context import Principal, current, local_context
from services.chassis.errors import FailedPrecondition, NotFound, ResourceExhausted, Unavailable
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, Claim, NewEvent, Query, Record, Work
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.operations import runner
from services.chassis.operations.kept import KIND, Order
from services.chassis.operations.runner import Handler, Operations, Setup, operating

pytestmark = pytest.mark.usefixtures("in_a_request")

LONG = timedelta(seconds=30)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore(now=now)


@pytest.fixture
def hot() -> MemoryHotStore:
    return MemoryHotStore()


@asynccontextmanager
async def working(
    store: MemoryEventStore,
    hot: MemoryHotStore,
    handlers: Mapping[str, Handler],
    lease: timedelta = LONG,
) -> AsyncIterator[Operations]:
    setup = Setup(
        ids.new("operator"),
        "test.runplane.dev",
        now,
        partial(ids.new, "op"),
        lease,
        look=timedelta(milliseconds=20),
    )
    async with asyncio.timeout(10), operating(store, hot, handlers, setup) as operations:
        yield operations


async def echoed(order: Order) -> StringValue:
    return StringValue(value=f"{order.target} for {current.get().principal.subject}")


async def refused(order: Order) -> StringValue:
    raise FailedPrecondition("NOT_NOW", "not now", target=order.target)


async def broken(order: Order) -> StringValue:
    raise ZeroDivisionError


async def for_ever(order: Order) -> StringValue:
    await asyncio.Event().wait()
    raise AssertionError


async def test_an_operation_is_done_and_has_its_response(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    async with working(store, hot, {"say": Handler(echoed)}) as operations:
        started = await operations.start("say", "hello", StringValue(value="meta"))
        done = await operations.wait("default", started.name, LONG)

    response, metadata = StringValue(), StringValue()
    done.response.Unpack(response)
    done.metadata.Unpack(metadata)
    assert not started.done
    assert done.done
    assert (response.value, metadata.value) == ("hello for local", "meta")


async def test_a_refusal_is_the_outcome_with_its_reason(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    async with working(store, hot, {"say": Handler(refused)}) as operations:
        started = await operations.start("say", "hello", StringValue())
        done = await operations.wait("default", started.name, LONG)

    info = ErrorInfo()
    done.error.details[0].Unpack(info)
    assert done.error.code == code_pb2.FAILED_PRECONDITION
    assert (info.reason, info.domain) == ("NOT_NOW", "test.runplane.dev")
    assert info.metadata["target"] == "hello"


async def test_a_bug_is_an_internal_error(store: MemoryEventStore, hot: MemoryHotStore) -> None:
    async with working(store, hot, {"say": Handler(broken)}) as operations:
        started = await operations.start("say", "hello", StringValue())
        done = await operations.wait("default", started.name, LONG)

    assert done.error.code == code_pb2.INTERNAL


async def test_a_cancelled_operation_stops_and_says_so(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    async with working(store, hot, {"say": Handler(for_ever)}) as operations:
        started = await operations.start("say", "hello", StringValue())
        await operations.cancel("default", started.name)
        done = await operations.wait("default", started.name, LONG)
        await operations.cancel("default", started.name)
        again = await operations.kept.find("default", started.name)

    assert done.error.code == code_pb2.CANCELLED
    assert again == done


async def test_what_a_cancelled_operation_did_is_undone(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    undone = []

    async def undo(order: Order) -> None:
        undone.append(order.target)

    async with working(store, hot, {"say": Handler(for_ever, undo)}) as operations:
        await operations.start("say", "left to others", StringValue())
        started = await operations.start("say", "hello", StringValue())
        await operations.cancel("default", started.name)
        await operations.wait("default", started.name, LONG)

    assert undone == ["hello"]


async def test_another_replica_goes_on_with_what_one_leaves_behind(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    async with working(store, hot, {"say": Handler(for_ever)}) as operations:
        started = await operations.start("say", "hello", StringValue())
    async with working(store, hot, {"say": Handler(echoed)}) as operations:
        done = await operations.wait("default", started.name, LONG)

    assert done.HasField("response")


async def test_any_replica_waits_for_an_operation_of_another(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def told(order: Order) -> StringValue:
        begun.set()
        await go.wait()
        return StringValue()

    async with working(store, hot, {"say": Handler(told)}) as one, working(store, hot, {}) as other:
        started = await one.start("say", "hello", StringValue())
        await begun.wait()
        waiting = asyncio.create_task(other.wait("default", started.name, LONG))
        go.set()
        done = await waiting

    assert done.done


async def test_waiting_ends_with_its_time(store: MemoryEventStore, hot: MemoryHotStore) -> None:
    async with working(store, hot, {"say": Handler(for_ever)}) as operations:
        started = await operations.start("say", "hello", StringValue())
        seen = await operations.wait("default", started.name, timedelta(milliseconds=1))

    assert not seen.done


async def test_operations_of_another_tenant_are_not_there(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    async with working(store, hot, {"say": Handler(echoed)}) as operations:
        started = await operations.start("say", "hello", StringValue())

        with pytest.raises(NotFound) as caught:
            await operations.kept.find("other", started.name)

    assert caught.value.reason == "OPERATION_NOT_FOUND"


async def test_only_what_is_done_can_be_deleted(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    async with working(
        store, hot, {"say": Handler(for_ever), "echo": Handler(echoed)}
    ) as operations:
        running = await operations.start("say", "hello", StringValue())
        with pytest.raises(FailedPrecondition) as caught:
            await operations.kept.delete("default", running.name, now())
        done = await operations.start("echo", "hello", StringValue())
        await operations.wait("default", done.name, LONG)
        await operations.kept.delete("default", done.name, now())
        left = [name for name, _ in await operations.kept.page("default", after="", limit=9)]

    assert caught.value.reason == "OPERATION_RUNNING"
    assert [f"operations/{name}" for name in left] == [running.name]


async def test_a_tenant_has_so_many_operations_at_a_time(
    store: MemoryEventStore, hot: MemoryHotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MOST_RUNNING", 2)
    async with working(store, hot, {"say": Handler(for_ever)}) as operations:
        for _ in range(2):
            await operations.start("say", "hello", StringValue())
        with pytest.raises(ResourceExhausted) as caught:
            await operations.start("say", "hello", StringValue())
        current.set(local_context(Principal(tenant="other")))
        await operations.start("say", "hello", StringValue())

    assert caught.value.reason == "TOO_MANY_OPERATIONS"
    assert caught.value.retry_after is not None


class Elsewhere(MemoryEventStore):
    """A store that others get a word in beside."""

    async def records(self, query: Query) -> Sequence[Record]:
        found = await super().records(query)
        await asyncio.sleep(0)
        return found


async def test_those_who_come_at_once_have_no_more_operations(
    hot: MemoryHotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MOST_RUNNING", 2)
    async with working(Elsewhere(now=now), hot, {"say": Handler(for_ever)}) as operations:
        starts = (operations.start("say", "hello", StringValue()) for _ in range(9))
        outcomes = await asyncio.gather(*starts, return_exceptions=True)

    assert sum(isinstance(each, ResourceExhausted) for each in outcomes) == 7


class SlowStore(MemoryEventStore):
    """Takes its time over a renewal, once it is told to."""

    def __init__(self) -> None:
        super().__init__(now=now)
        self.is_slow = False
        self.has_looked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def renew(self, owner: str, *, lease: timedelta) -> Sequence[Claim]:
        """See `EventStore`."""
        held = await super().renew(owner, lease=lease)
        if self.is_slow:
            self.has_looked.set()
            await self.goes_on.wait()
        return held


async def test_an_operation_that_starts_while_claims_are_renewed_goes_on(
    hot: MemoryHotStore,
) -> None:
    store, done = SlowStore(), asyncio.Event()
    began: list[str] = []

    async def do(order: Order) -> StringValue:
        began.append(order.target)
        await done.wait()
        return StringValue()

    async with working(store, hot, {"say": Handler(do)}) as operations:
        store.is_slow = True
        await store.has_looked.wait()
        started = await operations.start("say", "hello", StringValue())
        store.has_looked.clear()
        store.goes_on.set()
        await store.has_looked.wait()  # So the renewal before is over.
        done.set()
        ended = await operations.wait("default", started.name, LONG)

    assert ended.done
    assert began == ["hello"]


class Forgetful(MemoryEventStore):
    """Does not take an outcome once."""

    def __init__(self) -> None:
        super().__init__(now=now)
        self.failures = 1

    async def append(self, batch: Append) -> Claim | None:
        """See `EventStore`."""
        if batch.is_done and self.failures:
            self.failures -= 1
            raise Unavailable("STORE_AWAY", "away")
        return await super().append(batch)


async def test_an_operation_whose_outcome_was_not_kept_is_done_again(hot: MemoryHotStore) -> None:
    async with working(Forgetful(), hot, {"say": Handler(echoed)}) as operations:
        started = await operations.start("say", "hello", StringValue())
        done = await operations.wait("default", started.name, LONG)

    assert done.done


async def test_an_order_that_cannot_be_read_does_not_end_the_others(
    store: MemoryEventStore, hot: MemoryHotStore
) -> None:
    event = NewEvent("operation.started.v9", now(), b"what is this")
    async with working(store, hot, {"say": Handler(echoed)}) as operations:
        await store.append(Append("default", "operation/op_1", 0, [event], work=Work(KIND)))
        operations.wake()
        started = await operations.start("say", "hello", StringValue())
        done = await operations.wait("default", started.name, LONG)

    assert done.done
