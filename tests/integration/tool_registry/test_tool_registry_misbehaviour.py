"""Tools that break their word, over a real socket: a clear error, and a registry that goes on."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import grpc
import pytest
import pytest_asyncio

from services.chassis import structs
from services.chassis.errors import Unavailable
from services.chassis.schema import Schema
from services.tool_registry.domain.targets import Client
from services.tool_registry.domain.tool import Default, ToolFailure
from services.tool_registry.ports import Answer, Invocation, Requests, Tool
from services.tool_registry.settings import LimitSettings
from tests.integration.tool_registry.conftest import Registry, fault_of, request, started
from tests.unit.tool_registry.fakes import (
    FAR,
    FakeTool,
    Stubborn,
    Waiting,
    Work,
    raising,
    returning,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = Schema({"type": "number"}, field="output")
HUNG_UP = ToolFailure("HTTP_FAILED", "the server hung up in the middle", is_targets=True)

HUGE = 100_000_000
BESIDE = [("idempotency-key", "beside")]


@asynccontextmanager
async def going_on(*tools: Tool, limits: LimitSettings | None = None) -> AsyncIterator[Registry]:
    """A registry that has to serve afterwards as if nothing had been."""
    async with asyncio.timeout(20), started(limits, *tools) as registry:
        yield registry
        answer = await registry.call("calculator", expression="12 * 7")
        assert structs.to_value(answer.result) == {"value": 84}


async def huge(arguments: Mapping[str, object]) -> object:
    return "x" * HUGE


async def huge_content(arguments: Mapping[str, object]) -> object:
    return Answer(1, content=[{"type": "image", "data": "x" * HUGE}])


def looped() -> object:
    value: list[object] = []
    value.append(value)
    return value


BAD: Final[dict[str, tuple[Work, str]]] = {
    "text": (returning("text"), "TOOL_OUTPUT_INVALID"),
    "nothing": (returning(None), "TOOL_OUTPUT_INVALID"),
    "no_number": (returning(math.nan), "TOOL_OUTPUT_INVALID"),
    "a_set": (returning({1, 2}), "TOOL_OUTPUT_INVALID"),
    "a_long_number": (returning(10**1000), "TOOL_OUTPUT_INVALID"),
    "a_number_as_name": (returning({2: 1}), "TOOL_OUTPUT_INVALID"),
    "itself": (returning(looped()), "TOOL_OUTPUT_INVALID"),
    "huge": (huge, "TOOL_RESULT_TOO_LARGE"),
    "huge_content": (huge_content, "TOOL_RESULT_TOO_LARGE"),
    "many_values": (returning([0] * 100_001), "TOOL_RESULT_TOO_LARGE"),
    "untyped_content": (returning(Answer(1, content=[{"kind": "text"}])), "TOOL_OUTPUT_INVALID"),
    "content_that_is_text": (returning(Answer(1, content="text")), "TOOL_OUTPUT_INVALID"),  # type: ignore[arg-type]
    "no_requests": (returning(Answer(None, requests=Requests({}))), "TOOL_OUTPUT_INVALID"),
    "hangs_up": (raising(HUNG_UP), "HTTP_FAILED"),
    "connection": (raising(ConnectionResetError("10.0.0.1:5432")), "TOOL_FAILED"),
    "recursion": (raising(RecursionError()), "TOOL_FAILED"),
    "memory": (raising(MemoryError()), "TOOL_FAILED"),
}
"""Tools by name: what each does, and the reason that its callers get."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bad() -> AsyncIterator[Registry]:
    """A registry with all of them."""
    tools = [FakeTool(work, name=name, output=NUMBER, kept=FAR) for name, (work, _) in BAD.items()]
    async with started(None, *tools) as opened:
        yield opened


@pytest.mark.parametrize("name", BAD)
async def test_a_tool_that_breaks_its_word_is_told_by_name(bad: Registry, name: str) -> None:
    answer = await bad.call(name)
    after = await bad.call("calculator", expression="1")

    assert (answer.status, answer.error.reason) == ("error", BAD[name][1])
    assert answer.error.message
    assert "10.0.0.1" not in str(answer)
    assert not answer.HasField("result")
    assert not answer.content
    assert after.status == "success"


async def test_a_tool_that_never_returns_is_stopped() -> None:
    work = Waiting()

    async with going_on(FakeTool(work, timeout=timedelta(milliseconds=20), kept=FAR)) as registry:
        fault = await registry.fault(request("fake"))

    assert (fault.code, fault.info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TOOL_TIMEOUT")
    assert work.stopped.is_set()


async def test_a_tool_that_never_stops_holds_nobody_up() -> None:
    work = Stubborn()
    tool = FakeTool(work, timeout=timedelta(milliseconds=20), max_concurrency=2, kept=FAR)

    async with going_on(tool) as registry:
        faults = [await registry.fault(request("fake")) for _ in range(3)]
        work.released.set()

    assert [each.info.reason for each in faults] == [
        "TOOL_TIMEOUT",
        "TOOL_TIMEOUT",
        "TOOLS_OVERLOADED",
    ]
    assert faults[-1].info.metadata["limit"] == "tool"
    assert work.stopped.is_set()


async def test_a_caller_that_leaves_a_tool_that_never_stops_is_let_go() -> None:
    work = Stubborn()

    async with going_on(FakeTool(work, kept=FAR)) as registry:
        waiting = asyncio.ensure_future(registry.stub.CallTool(request("fake")))
        await work.started.wait()
        waiting.cancel()
        await work.stopped.wait()
        work.released.set()

    assert waiting.cancelled()


async def test_a_target_that_fails_is_left_alone_for_a_while_and_it_shows() -> None:
    tool = FakeTool(raising(Unavailable("PEER_UNAVAILABLE", "gone")))

    async with going_on(tool) as registry:
        before = await registry.tool("fake")
        faults = [await registry.fault(request("fake")) for _ in range(7)]
        after = await registry.tool("fake")
        elsewhere = await registry.tool("fake", tenant="other")

    assert [each.info.reason for each in faults] == ["PEER_UNAVAILABLE"] * 5 + [
        "TOOL_CIRCUIT_OPEN"
    ] * 2
    assert faults[-1].code == grpc.StatusCode.UNAVAILABLE
    assert 9 < faults[-1].retry_after_seconds <= 12
    assert len(tool.invocations) == 5
    assert [before.circuit, after.circuit, elsewhere.circuit] == [1, 2, 1]
    assert "5 times" in after.unavailable
    assert before.unavailable == elsewhere.unavailable == ""


async def test_a_default_stands_in_with_a_warning() -> None:
    tool = FakeTool(raising(HUNG_UP), output=NUMBER, default=Default(7))

    async with going_on(tool) as registry:
        answers = [await registry.call("fake") for _ in range(7)]

    assert {(each.status, structs.to_value(each.result)) for each in answers} == {("success", 7)}
    told = [each.warnings[0] for each in answers]
    assert {each.code for each in told} == {"TOOL_DEFAULTED"}
    assert "HTTP_FAILED" in told[0].message
    assert "TOOL_CIRCUIT_OPEN" in told[-1].message


async def test_a_tenant_that_calls_without_end_leaves_places_for_others() -> None:
    work = Waiting()
    slow = [FakeTool(work, name=f"slow{n}") for n in range(4)]
    limits = LimitSettings(calls=4, tenant_share=0.5)

    async with going_on(*slow, limits=limits) as registry, asyncio.TaskGroup() as group:
        calls = [group.create_task(registry.call(f"slow{n}")) for n in range(2)]
        await work.started.wait()
        refused = await registry.fault(request("slow2"))
        other = await registry.call_for("other", "calculator", expression="1")
        work.released.set()
        await asyncio.wait(calls)

    assert refused.info.reason == "TOOLS_OVERLOADED"
    assert refused.info.metadata["limit"] == "tenant"
    assert refused.retry_after_seconds > 0
    assert other.status == "success"


async def test_what_stands_against_a_call_is_told_before_it_is_made() -> None:
    gone = FakeTool(name="gone", unavailable="its server is gone")
    client = FakeTool(name="client", kept={"target": Client()})

    async with going_on(gone, client) as registry:
        of_gone = await registry.fault(request("gone"))
        of_client = await registry.fault(request("client"))
        shown = (await registry.tool("gone")).unavailable

    assert (of_gone.code.name, of_gone.info.reason) == ("UNAVAILABLE", "TOOL_UNAVAILABLE")
    assert of_gone.retry_after_seconds == 1
    assert (of_client.code.name, of_client.info.reason) == (
        "FAILED_PRECONDITION",
        "TOOL_RUNS_AT_CLIENT",
    )
    assert of_client.info.metadata["suggested_fix"]
    assert shown == "its server is gone"
    assert gone.invocations == client.invocations == []


async def test_content_and_a_deprecation_come_with_the_result() -> None:
    blocks = [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]
    tool = FakeTool(
        returning(Answer(3, content=blocks)),
        kept={"is_deprecated": True, "deprecation": "use other"},
    )

    async with going_on(tool) as registry:
        answer = await registry.call("fake")

    assert [structs.to_dict(each) for each in answer.content] == blocks
    assert [(each.code, each.message) for each in answer.warnings] == [
        ("TOOL_DEPRECATED", "use other")
    ]
    assert structs.to_value(answer.result) == 3


async def elicit(invocation: Invocation) -> Answer:
    """Asks for a name, and greets it once it has one."""
    if not invocation.responses:
        request = {"method": "elicitation/create", "params": {"message": "Your name?"}}
        return Answer(None, requests=Requests({"name": request}, "step 1"))
    return Answer({"responses": invocation.responses, "state": invocation.state})


async def test_a_tool_asks_its_caller_and_is_called_again_with_the_answer() -> None:
    first, second = request("fake"), request("fake")
    first.capabilities.update({"elicitation": {}})

    async with going_on(FakeTool(told=elicit)) as registry:
        asked = await registry.stub.CallTool(first)
        second.request_state = asked.request_state
        second.input_responses.update({"name": {"action": "accept", "content": {"name": "Ada"}}})
        answer = await registry.stub.CallTool(second)

    assert (asked.status, asked.request_state) == ("input_required", "step 1")
    assert structs.to_dict(asked.input_requests) == {
        "name": {"method": "elicitation/create", "params": {"message": "Your name?"}}
    }
    assert not asked.HasField("result")
    assert structs.to_value(answer.result) == {
        "responses": {"name": {"action": "accept", "content": {"name": "Ada"}}},
        "state": "step 1",
    }


async def test_a_caller_that_offers_nothing_is_not_asked() -> None:
    async with going_on(FakeTool(told=elicit)) as registry:
        answer = await registry.call("fake")

    assert (answer.status, answer.error.reason) == ("error", "INPUT_NOT_OFFERED")
    assert answer.error.suggested_fix


@pytest.mark.parametrize(
    ("key", "beside", "passed_on"),
    [("field", BESIDE, "field"), ("", BESIDE, "beside"), ("", [], "call_1")],
)
async def test_the_idempotency_key_goes_on_to_the_tool(
    key: str, beside: list[tuple[str, str]], passed_on: str
) -> None:
    tool = FakeTool()
    asked = request("fake")
    asked.tool_call_id, asked.idempotency_key = "call_1", key

    async with going_on(tool) as registry:
        await registry.stub.CallTool(asked, metadata=beside)

    assert [each.idempotency_key for each in tool.invocations] == [passed_on]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
        ({"idempotency_key": "a\r\nx: y"}, "idempotency_key"),
        ({"request_state": "x" * 65_537}, "request_state"),
        ({"request_state": "é" * 40_000}, "request_state"),
        ({"input_responses": {"a": "x" * 1_100_000}}, "input_responses"),
        ({"input_responses": {"a": {"b": math.nan}}}, "input_responses.a.b"),
        ({"capabilities": {"a": "x" * 20_000}}, "capabilities"),
    ],
)
async def test_what_is_beyond_bounds_is_refused_with_its_field(
    bad: Registry, fields: Mapping[str, object], field: str
) -> None:
    asked = request("text")
    for name, value in fields.items():
        if isinstance(value, str):
            setattr(asked, name, value)
        else:
            getattr(asked, name).update(value)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bad.stub.CallTool(asked)

    fault = fault_of(caught.value)
    assert (fault.code.name, fault.info.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert fault.info.metadata["field"] == field
    assert fault.info.metadata["suggested_fix"]
