"""CallTool over a real socket."""

import asyncio
import math
import threading
from collections.abc import Mapping
from datetime import timedelta

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.tool_registry.settings import LimitSettings
from tests.integration.tool_registry.conftest import Registry, request, started
from tests.unit.tool_registry.fakes import FAR, FakeTool, Waiting, Work, returning

pytestmark = pytest.mark.asyncio(loop_scope="module")  # As the registry they share.

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_call_is_answered_with_its_result(registry: Registry) -> None:
    answer = await registry.call("calculator", expression="12 * 7")

    assert structs.to_value(answer.result) == {"value": 84}
    assert (answer.status, answer.protocol_version) == ("success", "1.0")
    assert (answer.tool_name, answer.tool_version) == ("calculator", "1.0.0")
    assert answer.tool_call_id.startswith("call_")
    assert not answer.HasField("error")


async def test_a_call_can_be_found_in_its_trace(registry: Registry) -> None:
    answer = await registry.stub.CallTool(
        request("calculator", expression="1"),
        metadata=[("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")],
    )

    assert answer.observability.trace_id == TRACE
    assert len(answer.observability.span_id) == 16
    assert answer.observability.latency_ms > 0


async def test_the_callers_id_comes_back(registry: Registry) -> None:
    asked = request("calculator", expression="1")
    asked.tool_call_id = "call_mine"

    assert (await registry.stub.CallTool(asked)).tool_call_id == "call_mine"


async def test_every_example_of_every_tool_is_true(registry: Registry) -> None:
    tools = (await registry.stub.ListTools(pb.ListToolsRequest())).tools
    examples = [(tool.name, example) for tool in tools for example in tool.examples]

    answers = [
        await registry.stub.CallTool(pb.CallToolRequest(name=name, input=example.input))
        for name, example in examples
    ]

    assert len(examples) >= 6
    assert [each.result for each in answers] == [example.output for _, example in examples]


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("calculator", {"expression": "1 / 0"}, "DIVISION_BY_ZERO"),
        ("calculator", {"expression": "1 +"}, "EXPRESSION_INVALID"),
        ("calculator", {"expression": "9 ** 9 ** 9"}, "RESULT_TOO_LARGE"),
        ("calculator", {"expression": "sqrt(-1)"}, "RESULT_UNDEFINED"),
        ("current_time", {"timezone": "Mars/Olympus"}, "TIMEZONE_UNKNOWN"),
        ("unit_convert", {"value": 1, "from": "m", "to": "s"}, "UNITS_INCOMPATIBLE"),
        ("unit_convert", {"value": 1, "from": "blorp", "to": "s"}, "UNIT_UNKNOWN"),
        ("unit_convert", {"value": 1, "from": "m;m", "to": "s"}, "UNIT_INVALID"),
    ],
)
async def test_what_a_tool_cannot_do_is_an_answer_and_not_an_rpc_error(
    registry: Registry, name: str, arguments: dict[str, object], reason: str
) -> None:
    answer = await registry.call(name, **arguments)

    assert (answer.status, answer.error.reason) == ("error", reason)
    assert answer.error.message
    assert answer.error.suggested_fix
    assert not answer.HasField("result")


@pytest.mark.parametrize(
    ("arguments", "field", "path"),
    [
        ({}, "input.expression", "/required"),
        ({"expression": 3}, "input.expression", "/properties/expression/type"),
        ({"expression": ""}, "input.expression", "/properties/expression/minLength"),
        ({"expression": "1" * 1_000_000}, "input.expression", "/properties/expression/maxLength"),
        ({"expression": "1", "x": 1}, "input.x", "/additionalProperties"),
    ],
)
async def test_input_that_breaks_the_schema_is_refused_with_a_fix(
    registry: Registry, arguments: dict[str, object], field: str, path: str
) -> None:
    fault = await registry.fault(request("calculator", **arguments))

    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.reason == "TOOL_INPUT_INVALID"
    assert fault.info.domain == "tool-registry.runplane.dev"
    assert fault.info.metadata["field"] == field
    assert fault.info.metadata["schema_path"] == path
    assert fault.info.metadata["suggested_fix"]
    assert fault.fields == [field]


async def test_every_violation_is_told(registry: Registry) -> None:
    fault = await registry.fault(request("unit_convert", value="x", to=3))

    assert set(fault.fields) == {"input.value", "input.from", "input.to"}


async def test_a_thousand_unknown_arguments_fit_into_an_error(registry: Registry) -> None:
    unknown = {f"{n}{'x' * 500}": n for n in range(1000)}

    fault = await registry.fault(request("calculator", expression="1", **unknown))

    assert fault.info.reason == "TOOL_INPUT_INVALID"
    assert fault.info.metadata["field"].startswith("input.")


@pytest.mark.parametrize("number", [math.nan, math.inf, 2.0**60])
async def test_numbers_that_json_cannot_carry_are_refused(
    registry: Registry, number: float
) -> None:
    asked = pb.CallToolRequest(name="unit_convert")
    asked.input["value"] = number

    fault = await registry.fault(asked)

    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.reason == "INVALID_REQUEST"
    assert fault.info.metadata["field"] == "input.value"


async def test_input_of_many_levels_is_refused(registry: Registry) -> None:
    asked = pb.CallToolRequest(name="calculator")
    inner = asked.input
    for _ in range(30):
        inner = inner.fields["a"].struct_value
    inner.SetInParent()

    assert (await registry.fault(asked)).info.reason == "INVALID_REQUEST"


async def test_input_of_a_hundred_thousand_values_is_refused(registry: Registry) -> None:
    asked = pb.CallToolRequest(name="calculator")
    for _ in range(100_001):
        asked.input.fields["a"].list_value.values.add(bool_value=True)

    fault = await registry.fault(asked)

    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.metadata["field"] == "input"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "../calculator", "ü"])
async def test_what_is_no_name_is_refused(registry: Registry, name: str) -> None:
    fault = await registry.fault(request(name))

    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.metadata["field"] == "name"


async def test_an_unknown_tool_is_not_found_and_the_nearest_is_named(registry: Registry) -> None:
    fault = await registry.fault(request("calculater", expression="1"))

    assert fault.code == grpc.StatusCode.NOT_FOUND
    assert fault.info.reason == "TOOL_NOT_FOUND"
    assert fault.info.metadata["field"] == "name"
    assert fault.info.metadata["suggested_fix"] == "use calculator"


async def test_an_id_with_other_characters_is_refused(registry: Registry) -> None:
    asked = request("calculator", expression="1")
    asked.tool_call_id = "call 1"

    fault = await registry.fault(asked)

    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.metadata["field"] == "tool_call_id"


@pytest.mark.parametrize("timeout_ms", [0, -1, math.nan, math.inf, 1e12])
async def test_what_is_no_time_to_wait_is_refused(registry: Registry, timeout_ms: float) -> None:
    asked = request("calculator", expression="1")
    asked.timeout_ms = timeout_ms

    fault = await registry.fault(asked)

    assert fault.code == grpc.StatusCode.INVALID_ARGUMENT
    assert fault.info.metadata["field"] == "timeout_ms"


async def test_a_timeout_beyond_the_tools_own_is_no_error(registry: Registry) -> None:
    asked = request("calculator", expression="1")
    asked.timeout_ms = 600_000

    assert (await registry.stub.CallTool(asked)).status == "success"


async def test_a_call_that_takes_too_long_is_stopped() -> None:
    work = Waiting()
    asked = request("fake")
    asked.timeout_ms = 20

    async with asyncio.timeout(5), started(None, FakeTool(work)) as registry:
        fault = await registry.fault(asked)
        await work.stopped.wait()

    assert fault.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert fault.info.reason == "TOOL_TIMEOUT"
    assert fault.info.metadata["suggested_fix"]


async def test_the_deadline_is_answered_before_it_passes() -> None:
    async with asyncio.timeout(10), started(None, FakeTool(Waiting())) as registry:
        fault = await registry.fault(request("fake"), timeout=1)

    assert fault.info.reason == "TOOL_TIMEOUT"


async def test_cancelling_the_call_cancels_the_tool() -> None:
    work = Waiting()

    async with asyncio.timeout(5), started(None, FakeTool(work)) as registry:
        call = registry.stub.CallTool(request("fake"))
        waiting = asyncio.ensure_future(call)
        await work.started.wait()
        call.cancel()
        await work.stopped.wait()
        await asyncio.wait([waiting])

    assert waiting.cancelled()


async def test_calls_beyond_the_limit_are_told_when_to_come_back() -> None:
    work = Waiting()
    limits = LimitSettings(calls=1, retry_after=timedelta(milliseconds=250))

    async with (
        asyncio.timeout(5),
        started(limits, FakeTool(work)) as registry,
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(registry.call("fake"))
        await work.started.wait()
        fault = await registry.fault(request("calculator", expression="1"))
        work.released.set()
        await first
        after = await registry.call("calculator", expression="1")

    assert fault.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert fault.info.reason == "TOOLS_OVERLOADED"
    assert fault.retry_after_seconds == 0.25
    assert after.status == "success"


async def broken(arguments: Mapping[str, object]) -> object:
    raise RuntimeError("the password is 1234")


async def endless(arguments: Mapping[str, object]) -> object:
    return "x" * 3_000_000


async def crowded(arguments: Mapping[str, object]) -> object:
    return [[1] * 1000] * 101


async def not_a_number(arguments: Mapping[str, object]) -> object:
    return {"a": [math.nan]}


async def test_a_tool_that_breaks_is_an_answer_without_its_insides() -> None:
    async with started(None, FakeTool(broken)) as registry:
        answer = await registry.call("fake")

    assert (answer.status, answer.error.reason) == ("error", "TOOL_FAILED")
    assert "1234" not in str(answer)


async def most(arguments: Mapping[str, object]) -> object:
    return {f"{number:07}": "12345" for number in range(100_000)}


@pytest.mark.parametrize("work", [endless, crowded])
async def test_a_result_that_is_too_large_is_not_sent(work: Work) -> None:
    async with started(None, FakeTool(work)) as registry:
        answer = await registry.call("fake")

    assert (answer.status, answer.error.reason) == ("error", "TOOL_RESULT_TOO_LARGE")


async def test_a_result_as_large_as_it_may_be_fits_into_a_message() -> None:
    async with started(None, FakeTool(most)) as registry:
        answer = await registry.call("fake")

    assert answer.status == "success"
    assert len(answer.result.struct_value.fields) == 100_000


async def test_a_result_that_is_not_json_is_not_sent() -> None:
    async with started(None, FakeTool(not_a_number)) as registry:
        answer = await registry.call("fake")

    assert (answer.status, answer.error.reason) == ("error", "TOOL_OUTPUT_INVALID")


async def test_sixty_four_calls_at_once_do_not_mix(registry: Registry) -> None:
    async with asyncio.timeout(10):
        answers = await asyncio.gather(
            *(registry.call("calculator", expression=f"{n} * 2") for n in range(64))
        )

    assert [structs.to_value(each.result) for each in answers] == [
        {"value": n * 2} for n in range(64)
    ]


async def test_a_large_result_is_packed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pack, was_in_loop = structs.from_value, dict[int, bool]()

    def watched(value: object, into: Value, *, field: str = "") -> None:
        if isinstance(value, list):
            was_in_loop[len(value)] = threading.current_thread() is threading.main_thread()
        pack(value, into, field=field)

    monkeypatch.setattr(structs, "from_value", watched)
    tools = [
        FakeTool(returning(["x" * 100] * size), name=f"tool_{size}", kept=FAR)
        for size in (10, 2000)
    ]
    async with started(None, *tools) as opened:
        answers = [await opened.call(tool.entry.definition.name) for tool in tools]

    assert [len(answer.result.list_value.values) for answer in answers] == [10, 2000]
    assert was_in_loop == {10: True, 2000: False}
