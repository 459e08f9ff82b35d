"""What tasks use, and quotas on it, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
import pytest
import pytest_asyncio
from runplane.orchestrator.v1 import agents_pb2, usage_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.chassis.context import Principal
from services.inference.settings import PriceSettings
from services.orchestrator.settings import QuotaSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.test_orchestrator_tasks import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALCULATE = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'
PRICE = PriceSettings(input_usd=10, output_usd=30)


@pytest_asyncio.fixture(loop_scope="module")
async def dear() -> AsyncIterator[Suite]:
    """A suite of its own, whose model charges 10 and 30 dollars for a million tokens."""
    async with started(price=PRICE) as running:
        yield running


def tenant(name: str) -> tuple[tuple[str, str], ...]:
    return (("runplane-tenant", name), ("runplane-subject", Principal().subject))


async def quota(suite: Suite, quota_id: str, **fields: object) -> usage_pb2.Quota:
    wanted = usage_pb2.Quota(**{"quota_id": quota_id, "scope": "tenant", "period": "day", **fields})
    request = usage_pb2.CreateQuotaRequest(quota=wanted)
    return await suite.usage.CreateQuota(request, timeout=5)


async def used(suite: Suite, **fields: str) -> usage_pb2.UsageFigures:
    asked = usage_pb2.GetUsageRequest(**fields)
    return (await suite.usage.GetUsage(asked, timeout=5)).total


async def test_what_tasks_used_is_counted_for_tenant_agent_and_session(dear: Suite) -> None:
    agent = agents_pb2.Agent(agent_id="counter")
    await dear.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent), timeout=5)
    first = await dear.events(CALCULATE, agent_id="counter")
    session_id = first[0].session_id
    second = await dear.events("Hello there", session_id=session_id)
    ends = [events[-1].metrics for events in (first, second)]

    whole = await used(dear)

    assert whole.tokens == sum(end.tokens_used for end in ends)
    assert whole.cost_usd == pytest.approx(sum(end.cost_usd for end in ends))
    assert whole.turns == 3
    assert whole.prompt_tokens + whole.completion_tokens == whole.tokens
    assert await used(dear, scope="session", subject=session_id) == whole
    assert (await used(dear, scope="agent", subject="counter")).tokens == ends[0].tokens_used


async def test_usage_is_listed_by_agent_and_by_session_page_by_page(dear: Suite) -> None:
    for query in ("one", "two", "three"):
        await dear.events(query)
    request = usage_pb2.ListUsageRequest(scope="session", page_size=2)

    page = await dear.usage.ListUsage(request, timeout=5)
    request.page_token = page.next_page_token
    rest = await dear.usage.ListUsage(request, timeout=5)

    subjects = [row.subject for row in (*page.rows, *rest.rows)]
    assert len(set(subjects)) == 3
    assert subjects == sorted(subjects)
    assert {row.date for row in page.rows} == {datetime.now(UTC).date().isoformat()}
    assert rest.next_page_token == ""


async def test_a_call_that_would_exceed_a_quota_is_not_made(dear: Suite) -> None:
    await quota(dear, "small", tokens=3)

    code, info = await refused(dear.stub.Invoke(pb.InvokeRequest(query=CALCULATE), timeout=5))

    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert info.metadata["suggested_fix"].startswith("raise the quota, or wait until 2")
    assert (await used(dear)).turns == 0


async def test_no_number_of_tasks_at_once_uses_more_than_a_quota(dear: Suite) -> None:
    await quota(dear, "shared", tokens=2_000)
    words = " ".join(["word"] * 40)

    asked = [
        dear.stub.Invoke(pb.InvokeRequest(query=words, sampling={"max_tokens": 60}), timeout=20)
        for _ in range(60)
    ]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*asked, return_exceptions=True)

    done = [each for each in answers if isinstance(each, pb.InvokeResponse)]
    assert 0 < len(done) < 60
    assert sum(each.metrics.tokens_used for each in done) <= 2_000
    assert (await used(dear)).tokens <= 2_000


async def test_an_output_is_bounded_by_what_is_left_of_a_quota(dear: Suite) -> None:
    asked = pb.InvokeRequest(query="one two three four five six seven eight", tool_choice="none")
    whole = await dear.stub.Invoke(asked, timeout=5)
    await quota(dear, "tight", tokens=2 * whole.metrics.tokens_used - 3)

    code, info = await refused(dear.stub.Invoke(asked, timeout=5))

    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert (await used(dear)).tokens == 2 * whole.metrics.tokens_used - 3
    assert (await used(dear)).turns == 2


async def test_dollars_are_bounded_as_well(dear: Suite) -> None:
    await quota(dear, "cheap", cost_usd=1e-6)

    _, info = await refused(dear.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5))

    assert info.reason == "QUOTA_EXCEEDED"


async def test_a_quota_of_each_session_stops_one_and_not_the_next(dear: Suite) -> None:
    first = await dear.stub.Invoke(pb.InvokeRequest(query="Hi"), timeout=5)
    await quota(
        dear, "each", scope="session", period="total", tokens=first.metrics.tokens_used + 600
    )
    session_id = first.metadata.session_id
    again = pb.InvokeRequest(query="word " * 300, session_id=session_id)

    await dear.stub.Invoke(again, timeout=5)
    _, info = await refused(dear.stub.Invoke(again, timeout=5))
    fresh = await dear.stub.Invoke(pb.InvokeRequest(query="Hi"), timeout=5)

    assert info.reason == "QUOTA_EXCEEDED"
    assert fresh.status == "completed"


async def test_a_quota_of_one_agent_leaves_others_alone(dear: Suite) -> None:
    for name in ("bound", "free"):
        request = agents_pb2.CreateAgentRequest(agent=agents_pb2.Agent(agent_id=name))
        await dear.agents.CreateAgent(request, timeout=5)
    await quota(dear, "agent", scope="agent", subject="bound", tokens=0)

    _, info = await refused(dear.stub.Invoke(pb.InvokeRequest(query="Hi", agent_id="bound")))
    other = await dear.stub.Invoke(pb.InvokeRequest(query="Hi", agent_id="free"), timeout=5)

    assert info.reason == "QUOTA_EXCEEDED"
    assert other.status == "completed"


async def test_a_quota_is_shown_with_what_is_used_and_can_be_raised_and_deleted(
    dear: Suite,
) -> None:
    made = await quota(dear, "mine", tokens=0)
    await refused(dear.stub.Invoke(pb.InvokeRequest(query="Hi"), timeout=5))
    raised = usage_pb2.UpdateQuotaRequest(quota_id="mine", quota={"tokens": 100_000})

    updated = await dear.usage.UpdateQuota(raised, timeout=5)
    answer = await dear.stub.Invoke(pb.InvokeRequest(query="Hi"), timeout=5)
    shown = await dear.usage.GetQuota(usage_pb2.GetQuotaRequest(quota_id="mine"), timeout=5)
    await dear.usage.DeleteQuota(usage_pb2.DeleteQuotaRequest(quota_id="mine"), timeout=5)
    listed = await dear.usage.ListQuotas(usage_pb2.ListQuotasRequest(), timeout=5)

    assert (made.version, updated.version) == (1, 2)
    assert shown.used.tokens == answer.metrics.tokens_used
    assert not listed.quotas


async def test_quotas_and_usage_are_a_tenants_own(dear: Suite) -> None:
    await quota(dear, "mine", tokens=0)
    request = pb.InvokeRequest(query="Hi")

    answer = await dear.stub.Invoke(request, timeout=5, metadata=tenant("other"))

    assert answer.status == "completed"
    assert (await used(dear)).turns == 0


async def test_a_quota_of_the_settings_holds_for_every_tenant_and_stays() -> None:
    declared = QuotaSettings(quota_id="everyone", tokens=0, period="total")
    async with started(quotas=[declared]) as suite:
        asked = suite.stub.Invoke(pb.InvokeRequest(query="Hi"), timeout=5, metadata=tenant("a"))
        _, info = await refused(asked)
        request = usage_pb2.DeleteQuotaRequest(quota_id="everyone")
        code, why = await refused(suite.usage.DeleteQuota(request, timeout=5))
        listed = await suite.usage.ListQuotas(usage_pb2.ListQuotasRequest(), timeout=5)

    assert info.reason == "QUOTA_EXCEEDED"
    assert (code, why.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "QUOTA_DECLARED")
    assert [each.is_declared for each in listed.quotas] == [True]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"quota_id": "a b"}, "quota_id"),
        ({"scope": "galaxy"}, "scope"),
        ({"period": ""}, "period"),
        ({"subject": "x"}, "subject"),
        ({"tokens": -1}, "tokens"),
        ({"cost_usd": float("nan")}, "cost_usd"),
        ({"tokens": None}, "tokens"),
    ],
)
async def test_what_is_no_quota_is_refused_by_its_field(
    dear: Suite, fields: dict[str, object], field: str
) -> None:
    given = {"quota_id": "q", "tokens": 5, **fields}

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await quota(dear, str(given.pop("quota_id")), **given)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(f"{field}: ")


async def test_a_quota_that_is_there_is_not_created_again(dear: Suite) -> None:
    await quota(dear, "mine", tokens=1)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await quota(dear, "mine", tokens=2)

    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": "agent"},
        {"scope": "tenant", "subject": "x"},
        {"start_date": "yesterday"},
        {"start_date": "2026-05-02", "end_date": "2026-05-01"},
        {"start_date": "2020-01-01", "end_date": "2026-05-01"},
    ],
)
async def test_a_question_for_usage_that_is_none_is_refused(
    dear: Suite, fields: dict[str, str]
) -> None:
    asked = dear.usage.GetUsage(usage_pb2.GetUsageRequest(**fields), timeout=5)

    code, info = await refused(asked)

    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
