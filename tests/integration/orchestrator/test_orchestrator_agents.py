"""Agents over real sockets: their lives, their versions, and what is refused."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from runplane.orchestrator.v1 import agents_pb2 as pb
from runplane.orchestrator.v1.orchestrator_pb2 import TaskLimits
from runplane.type.v1.usage_pb2 import Sampling

from tests.integration.orchestrator.conftest import Suite, started

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODES = grpc.StatusCode


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fresh() -> AsyncIterator[Suite]:
    """A suite whose agents are these tests' own."""
    async with started() as running:
        yield running


async def created(suite: Suite, agent_id: str, **fields: Any) -> pb.Agent:
    agent = pb.Agent(agent_id=agent_id, **fields)
    return await suite.agents.CreateAgent(pb.CreateAgentRequest(agent=agent), timeout=5)


async def updated(suite: Suite, named: str, /, *mask: str, **fields: Any) -> pb.Agent:
    request = pb.UpdateAgentRequest(
        agent_id=named, agent=pb.Agent(**fields), update_mask=list(mask)
    )
    return await suite.agents.UpdateAgent(request, timeout=5)


async def got(suite: Suite, agent_id: str, version: int | None = None) -> pb.Agent:
    request = pb.GetAgentRequest(agent_id=agent_id, version=version)
    return await suite.agents.GetAgent(request, timeout=5)


async def deleted(suite: Suite, agent_id: str) -> None:
    await suite.agents.DeleteAgent(pb.DeleteAgentRequest(agent_id=agent_id), timeout=5)


async def listed(suite: Suite, **fields: Any) -> list[str]:
    response = await suite.agents.ListAgents(pb.ListAgentsRequest(**fields), timeout=5)
    return [agent.agent_id for agent in response.agents]


async def refused(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, str]:
    """The code, the reason and the field of a refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status, info = rpc_status.from_call(caught.value), ErrorInfo()
    assert status is not None
    next(each for each in status.details if each.Is(ErrorInfo.DESCRIPTOR)).Unpack(info)
    return caught.value.code(), info.reason, info.metadata.get("field", "")


def schema_of(document: dict[str, object]) -> Struct:
    return ParseDict(document, Struct())


async def test_an_agent_is_kept_as_it_was_sent(suite: Suite) -> None:
    fields: dict[str, Any] = {
        "description": "Calculates.",
        "instructions": "You calculate.",
        "model": "echo",
        "tools": ["calculator"],
        "limits": TaskLimits(steps=3, tokens=500, duration_ms=2000),
        "response_schema": schema_of({"type": "object", "properties": {"n": {"type": "number"}}}),
        "sampling": Sampling(temperature=0.5, stop=["END"]),
        "labels": {"team": "search"},
    }

    made = await created(suite, "whole", **fields)

    assert await got(suite, "whole") == made
    assert (made.version, made.owner) == (1, "local")
    assert made.create_time == made.update_time
    bare = pb.Agent()
    bare.CopyFrom(made)
    for name in ("version", "owner", "create_time", "update_time"):
        bare.ClearField(name)
    assert bare == pb.Agent(agent_id="whole", **fields)


async def test_an_update_makes_a_version_and_leaves_the_older_ones(suite: Suite) -> None:
    first = await created(suite, "versions", instructions="One.", labels={"a": "b"})

    second = await updated(suite, "versions", instructions="Two.")
    third = await updated(suite, "versions", "labels", "instructions", instructions="Three.")

    assert (second.version, second.instructions, second.labels) == (2, "Two.", {"a": "b"})
    assert (third.version, third.instructions, third.labels) == (3, "Three.", {})
    assert await got(suite, "versions") == third
    assert [await got(suite, "versions", number) for number in (1, 2)] == [first, second]


async def test_an_update_that_changes_nothing_makes_no_version(suite: Suite) -> None:
    made = await created(suite, "same", instructions="One.")

    assert await updated(suite, "same", instructions="One.", agent_id="same", version=1) == made


async def test_what_was_read_can_be_sent_back_with_a_change(suite: Suite) -> None:
    read = await created(suite, "back", description="Old.", tools=["calculator"])
    read.description = "New."

    request = pb.UpdateAgentRequest(agent_id="back", agent=read)
    written = await suite.agents.UpdateAgent(request)
    conflict = await refused(suite.agents.UpdateAgent(request))

    assert (written.version, written.description) == (2, "New.")
    assert conflict == (CODES.ABORTED, "AGENT_VERSION_CONFLICT", "version")


async def test_a_deleted_agent_is_gone_but_for_its_versions(suite: Suite) -> None:
    made = await created(suite, "gone")

    await deleted(suite, "gone")

    missing = (CODES.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id")
    assert await refused(got(suite, "gone")) == missing
    assert await refused(updated(suite, "gone", description="x")) == missing
    assert await refused(deleted(suite, "gone")) == missing
    assert "gone" not in await listed(suite, page_size=1000)
    assert await got(suite, "gone", 1) == made
    gap = await refused(got(suite, "gone", 2))
    assert gap == (CODES.NOT_FOUND, "AGENT_VERSION_NOT_FOUND", "version")
    assert (await created(suite, "gone")).version == 3


async def test_an_id_is_taken_once(suite: Suite) -> None:
    await created(suite, "taken")

    again = await refused(created(suite, "taken"))

    assert again == (CODES.ALREADY_EXISTS, "AGENT_ALREADY_EXISTS", "agent_id")


async def test_a_creation_can_be_repeated_with_its_key(suite: Suite) -> None:
    request = pb.CreateAgentRequest(agent=pb.Agent(agent_id="keyed"), idempotency_key="k")
    other = pb.CreateAgentRequest(agent=pb.Agent(agent_id="other"))
    first = await suite.agents.CreateAgent(request)

    assert await suite.agents.CreateAgent(request) == first
    reused = await refused(suite.agents.CreateAgent(other, metadata=(("idempotency-key", "k"),)))
    assert reused == (CODES.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED", "idempotency_key")
    missing = (CODES.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id")
    assert await refused(got(suite, "other")) == missing


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"agent_id": ""}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "agent_id")),
        ({"agent_id": "a b"}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "agent_id")),
        ({"agent_id": "a" * 65}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "agent_id")),
        ({"description": "x" * 1025}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "description")),
        ({"instructions": "é" * 8193}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "instructions")),
        ({"model": "gpt"}, (CODES.NOT_FOUND, "MODEL_NOT_FOUND", "model")),
        ({"tools": ["nope"]}, (CODES.NOT_FOUND, "TOOL_NOT_FOUND", "tools[0]")),
        ({"tools": ["a b"]}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "tools[0]")),
        (
            {"tools": ["calculator", "calculator"]},
            (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "tools[1]"),
        ),
        (
            {"tools": ["calculator"], "tool_choice": "none"},
            (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "tools"),
        ),
        ({"tool_choice": "all"}, (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "tool_choice")),
        (
            {"limits": TaskLimits(steps=33)},
            (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "limits.steps"),
        ),
        (
            {"sampling": Sampling(temperature=3)},
            (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "sampling.temperature"),
        ),
        (
            {"labels": {"a b": "x"}},
            (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "labels"),
        ),
        (
            {"response_schema": schema_of({"type": "nothing"})},
            (CODES.INVALID_ARGUMENT, "SCHEMA_INVALID", "response_schema"),
        ),
    ],
)
async def test_what_is_no_agent_is_refused_at_creation_and_in_an_update(
    fresh: Suite, fields: dict[str, Any], refusal: tuple[grpc.StatusCode, str, str]
) -> None:
    if "there" not in await listed(fresh):
        await created(fresh, "there")

    assert await refused(created(fresh, **({"agent_id": "bad"} | fields))) == refusal
    if "agent_id" not in fields:
        assert await refused(updated(fresh, "there", **fields)) == refusal
    assert await listed(fresh) == ["there"]
    assert (await got(fresh, "there")).version == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"agent_id": "other"}, "agent_id"),
        ({"mask": ["owner"]}, "update_mask[0]"),
        ({"mask": ["labels"] * 20}, "update_mask"),
    ],
)
async def test_what_cannot_be_updated_is_refused(
    suite: Suite, fields: dict[str, Any], field: str
) -> None:
    if "fixed" not in await listed(suite, page_size=1000):
        await created(suite, "fixed")
    mask = fields.pop("mask", [])

    refusal = await refused(updated(suite, "fixed", *mask, **fields))

    assert refusal == (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", field)


async def test_a_version_that_cannot_be_is_refused(suite: Suite) -> None:
    refusal = await refused(got(suite, "any", 0))

    assert refusal == (CODES.INVALID_ARGUMENT, "INVALID_REQUEST", "version")


async def test_agents_are_listed_by_id_by_pages_and_by_filter() -> None:
    async with started() as own:
        for number in (3, 1, 2):
            team = {"team": "odd" if number % 2 else "even"}
            await created(own, f"agent_{number}", labels=team, instructions="Long.")
        await updated(own, "agent_2", description="Second.")

        first = await own.agents.ListAgents(pb.ListAgentsRequest(page_size=2))
        rest = await listed(own, page_size=2, page_token=first.next_page_token)

        assert [agent.agent_id for agent in first.agents] == ["agent_1", "agent_2"]
        assert (first.agents[1].version, first.agents[1].description) == (2, "Second.")
        assert first.agents[1].instructions == ""
        assert rest == ["agent_3"]
        assert await listed(own, filter="labels.team = odd") == ["agent_1", "agent_3"]
        assert await listed(own, filter="agent_id > agent_1 AND labels.team = odd") == ["agent_3"]
        assert await listed(own, filter="create_time > 2999-01-01") == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "PAGE_SIZE_INVALID"),
        ({"page_token": "abc"}, "PAGE_TOKEN_INVALID"),
        ({"filter": "is_deleted = true"}, "FILTER_INVALID"),
    ],
)
async def test_what_cannot_be_listed_is_refused(
    suite: Suite, fields: dict[str, object], reason: str
) -> None:
    code, said, _ = await refused(suite.agents.ListAgents(pb.ListAgentsRequest(**fields)))

    assert (code, said) == (CODES.INVALID_ARGUMENT, reason)


async def test_a_page_ends_before_it_is_too_long_for_a_message() -> None:
    async with started() as own:
        labels = {f"label_{number}": "é" * 256 for number in range(16)}
        ids = [f"agent_{number:03}" for number in range(260)]
        for agent_id in ids:
            await created(own, agent_id, labels=labels)

        page = await own.agents.ListAgents(pb.ListAgentsRequest(page_size=1000))
        rest = await listed(own, page_size=1000, page_token=page.next_page_token)

        assert len(page.agents) < len(ids)
        assert [agent.agent_id for agent in page.agents] + rest == ids


async def test_tenants_do_not_see_each_others_agents(suite: Suite) -> None:
    await created(suite, "mine")
    other = (("runplane-tenant", "other"), ("runplane-subject", "someone"))

    seen = await suite.agents.ListAgents(pb.ListAgentsRequest(), metadata=other)
    get = suite.agents.GetAgent(pb.GetAgentRequest(agent_id="mine"), metadata=other)

    assert list(seen.agents) == []
    assert await refused(get) == (CODES.NOT_FOUND, "AGENT_NOT_FOUND", "agent_id")
