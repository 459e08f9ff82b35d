"""The response cache over real sockets: what callers say of it, and what they get."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from typing import Final

import grpc
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.orchestrator.v1 import usage_pb2
from runplane.type.v1.usage_pb2 import Sampling

from services.chassis.settings import SharedSettings
from services.inference.settings import EchoSettings, PriceSettings
from services.orchestrator.settings import CacheSettings, QuotaSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.test_orchestrator_tasks import refused, types
from tests.servers.redis import redis

pytestmark = pytest.mark.asyncio(loop_scope="module")

CACHED: Final = CacheSettings()
CALCULATE: Final = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'
PRICE: Final = PriceSettings(input_usd=10, output_usd=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caching() -> AsyncIterator[Suite]:
    """A suite with a cache, whose model charges something."""
    async with started(cache=CACHED, price=PRICE) as running:
        yield running


async def invoked(
    suite: Suite, query: str, *metadata: tuple[str, str], **fields: object
) -> pb.InvokeResponse:
    request = pb.InvokeRequest(query=query, **fields)
    return await suite.stub.Invoke(request, timeout=10, metadata=metadata)


async def test_the_same_question_is_answered_from_the_cache_and_says_so(caching: Suite) -> None:
    first = await invoked(caching, "Once")
    again = await invoked(caching, "Once")

    assert (again.result, first.metadata.cached, again.metadata.cached) == ("Once", False, True)
    assert (first.metrics.tokens_used > 0, again.metrics.tokens_used) == (True, 0)
    assert (first.metrics.cost_usd > 0, again.metrics.cost_usd) == (True, 0)
    assert again.metrics.tokens_saved == first.metrics.tokens_used
    assert again.task_id != first.task_id


async def test_a_cached_task_streams_the_same_kinds_of_events(caching: Suite) -> None:
    first = await caching.events(CALCULATE)
    again = await caching.events(CALCULATE)

    kinds = [dict.fromkeys(types(events)) for events in (first, again)]
    assert kinds[0] == kinds[1]
    assert "tool_result" in types(again)
    assert "".join(event.text for event in again) == "12*7 is 84."
    assert [event.cached for event in again if event.HasField("usage")] == [True, True]
    assert not [event for event in first if event.cached]
    assert again[-1].metadata.cached


async def test_how_a_task_was_answered_is_in_its_log(caching: Suite) -> None:
    await invoked(caching, "Twice")
    again = await invoked(caching, "Twice")

    task = await caching.stub.GetTask(pb.GetTaskRequest(task_id=again.task_id), timeout=5)

    assert (task.metadata.cached, task.metrics.tokens_used) == (True, 0)


async def test_what_is_said_beside_the_request_counts_and_is_in_the_log(caching: Suite) -> None:
    beside = ("cache-control", "no-store, private")
    both = [await invoked(caching, "Never", beside) for _ in range(2)]

    watch = pb.WatchTaskRequest(task_id=both[1].task_id)
    async with asyncio.timeout(5):
        start = await anext(aiter(caching.stub.WatchTask(watch)))
    assert [each.metadata.cached for each in both] == [False, False]
    assert start.request.cache == "no-store"


async def test_the_request_itself_says_more_than_what_comes_beside_it(caching: Suite) -> None:
    beside = ("cache-control", "no-store")
    both = [await invoked(caching, "Beside", beside, cache="max-age=60") for _ in range(2)]

    assert [each.metadata.cached for each in both] == [False, True]


async def test_what_is_drawn_by_chance_is_cached_where_the_caller_allows_it(
    caching: Suite,
) -> None:
    chance = Sampling(temperature=0.7)
    cached = [
        (await invoked(caching, "Dice", sampling=chance, cache=cache)).metadata.cached
        for cache in ("", "", "allow", "allow", "")
    ]

    assert cached == [False, False, False, True, False]


async def test_only_if_cached_is_refused_where_there_is_nothing(caching: Suite) -> None:
    code, info = await refused(invoked(caching, "New", ("cache-control", "only-if-cached")))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ANSWER_NOT_CACHED")
    assert info.metadata["suggested_fix"]


async def test_without_a_cache_all_is_asked_that_may_be_asked(suite: Suite) -> None:
    both = [await invoked(suite, "Off", cache="allow") for _ in range(2)]
    code, info = await refused(invoked(suite, "Off", cache="only-if-cached"))

    assert [each.metadata.cached for each in both] == [False, False]
    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ANSWER_NOT_CACHED")


@pytest.mark.parametrize(
    ("beside", "cache", "field"),
    [("", "often", "cache"), ("max-age=soon", "", "cache-control")],
)
async def test_what_says_nothing_to_the_cache_is_refused(
    caching: Suite, beside: str, cache: str, field: str
) -> None:
    metadata = [("cache-control", beside)] if beside else []

    code, info = await refused(invoked(caching, "Odd", *metadata, cache=cache))

    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_a_call_of_a_tool_has_nothing_to_do_with_the_cache(caching: Suite) -> None:
    given = Struct()
    given.update({"expression": "12*7"})
    call = pb.ToolCallSpec(tool="calculator", input=given)

    answer = await invoked(caching, "", ("cache-control", "no-cache"), call=call)
    code, info = await refused(invoked(caching, "", call=call, cache="no-cache"))

    assert answer.status == "completed"
    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "cache")


async def test_a_tenant_gets_nothing_that_another_one_asked_for(caching: Suite) -> None:
    tenants = [("runplane-tenant", name) for name in ("a", "b", "a")]

    cached = [(await invoked(caching, "Mine", tenant)).metadata.cached for tenant in tenants]

    assert cached == [False, False, True]


async def test_the_same_key_is_the_same_task_whatever_is_said_of_the_cache(caching: Suite) -> None:
    first = await invoked(caching, "Key", idempotency_key="cache-1")
    again = await invoked(caching, "Key", ("cache-control", "no-store"), idempotency_key="cache-1")

    assert first.task_id == again.task_id


async def test_what_came_of_the_cache_can_be_measured(caching: Suite) -> None:
    before = await figures(caching)
    await invoked(caching, "Count")
    await invoked(caching, "Count")
    after = await figures(caching)

    grown = {name: after[name] - before[name] for name in after}
    assert grown['hits_total{where="near"}'] == 1
    assert (grown["misses_total"], grown["kept_total"], grown["entries"]) == (1, 1, 1)
    assert grown["bytes"] > 0


async def figures(suite: Suite) -> dict[str, float]:
    def page() -> str:
        with urllib.request.urlopen(f"http://{suite.admin}/metrics", timeout=5) as reply:
            return str(reply.read().decode())

    head = "runplane_orchestrator_cache_"
    lines = [line for line in (await asyncio.to_thread(page)).splitlines() if line.startswith(head)]
    return {
        name.removeprefix(head): float(value) for name, value in (x.rsplit(" ", 1) for x in lines)
    }


async def test_cached_turns_take_nothing_of_a_quota_and_hold_nothing() -> None:
    small = QuotaSettings(quota_id="small", period="total", tokens=300)
    greedy = Sampling(temperature=0, max_tokens=50)
    async with started(cache=CACHED, quotas=[small]) as suite:
        answers = [
            await invoked(suite, "Again", tool_choice="none", sampling=greedy) for _ in range(10)
        ]
        used = await suite.usage.GetUsage(usage_pb2.GetUsageRequest(), timeout=5)

    assert [each.metadata.cached for each in answers] == [False] + [True] * 9
    assert used.total.tokens == answers[0].metrics.tokens_used
    assert used.total.turns == 1


async def test_those_who_ask_at_once_share_a_turn_and_one_who_leaves_takes_nothing_away() -> None:
    query = " ".join(["word"] * 60)
    slow = EchoSettings(delay="10ms")
    async with started(cache=CACHED, echo=slow) as suite:
        first = suite.stub.StreamInvoke(
            pb.InvokeRequest(query=query, tool_choice="none", sampling=Sampling(temperature=0)),
            timeout=30,
        )
        async with asyncio.timeout(20):
            while (await first.read()).type != "message_delta":
                pass
        others = [
            asyncio.create_task(
                invoked(suite, query, tool_choice="none", sampling=Sampling(temperature=0))
            )
            for _ in range(3)
        ]
        await until_shared(suite, 3)
        first.cancel()
        answers = await asyncio.gather(*others)

    assert [answer.result for answer in answers] == [query] * 3
    assert [answer.metadata.cached for answer in answers] == [False, True, True]


async def until_shared(suite: Suite, count: int) -> None:
    async with asyncio.timeout(10):
        while (await figures(suite))['hits_total{where="shared"}'] < count:
            pass


async def test_replicas_have_what_one_of_them_kept_and_do_without_redis() -> None:
    with redis() as server:
        shared = SharedSettings(page_token_key="00" * 32, hot_store=server.url)
        async with started(cache=CACHED, shared=shared) as one:
            await invoked(one, "Far")
        async with started(cache=CACHED, shared=shared) as other:
            far = await invoked(other, "Far")
            counted = await figures(other)
            server.crash()
            near = await invoked(other, "Far")
            new = [await invoked(other, "Lost") for _ in range(2)]

    assert (far.metadata.cached, counted['hits_total{where="far"}']) == (True, 1)
    assert near.metadata.cached
    assert [each.metadata.cached for each in new] == [False, True]
