"""Prices of models, what tasks cost, and limits on that, over real sockets."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from runplane.orchestrator.v1 import agents_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb

from services.inference.settings import PriceSettings
from tests.integration.orchestrator.conftest import Suite, started
from tests.integration.orchestrator.test_orchestrator_tasks import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALCULATE = 'tool:calculator {"expression": "12*7"}\n12*7 is 84.'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dear() -> AsyncIterator[Suite]:
    """A suite whose model charges 10 and 30 dollars for a million tokens."""
    async with started(price=PriceSettings(input_usd=10, output_usd=30)) as running:
        yield running


async def test_a_task_says_what_its_turns_cost(dear: Suite) -> None:
    events = await dear.events(CALCULATE)

    turns = [event for event in events if event.HasField("usage")]
    costs = [(e.usage.prompt_tokens * 10 + e.usage.completion_tokens * 30) / 1e6 for e in turns]
    assert [event.cost_usd for event in turns] == pytest.approx(costs)
    assert len(turns) == 2
    assert events[-1].metrics.cost_usd == pytest.approx(sum(costs), abs=1e-8)


async def test_an_agents_limit_holds_for_its_tasks(dear: Suite) -> None:
    agent = agents_pb2.Agent(agent_id="thrifty", limits=pb.TaskLimits(cost_usd=1e-5))
    await dear.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent), timeout=5)
    request = pb.InvokeRequest(query=CALCULATE, agent_id="thrifty")

    code, info = await refused(dear.stub.Invoke(request, timeout=5))

    assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COST_LIMIT_REACHED")
    assert info.metadata["suggested_fix"].startswith("raise limits.cost_usd")


@pytest.mark.parametrize("dollars", [0.0, -1.0, float("nan"), 1e9])
async def test_a_limit_that_is_none_is_refused(dear: Suite, dollars: float) -> None:
    request = pb.InvokeRequest(query="Hi", limits=pb.TaskLimits(cost_usd=dollars))

    code, info = await refused(dear.stub.Invoke(request, timeout=5))

    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "limits.cost_usd")
