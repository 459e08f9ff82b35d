"""Tools that ask their callers for something, and what tools are told of a call."""

from datetime import timedelta

import pytest

from services.chassis.asking import CAPABILITIES, MAX_REQUESTS
from services.chassis.errors import InvalidArgument
from services.tool_registry.domain.call import Outcome, checked_key
from services.tool_registry.ports import Answer, Requests
from tests.unit.tool_registry.fakes import FakeTool, asked, calls_of, returning

ASKS = {"name": {"method": "elicitation/create", "params": {"message": "Your name?"}}}
CAN = {"elicitation": {}}


async def asking(inputs: object, capabilities: object = None, state: object = "opaque") -> Outcome:
    answer = Answer(None, requests=Requests(inputs, state))  # type: ignore[arg-type]
    tool = FakeTool(returning(answer))
    return await calls_of(tool).call(asked(capabilities=capabilities))


async def reason(inputs: object, capabilities: object = None, state: object = "") -> str:
    failure = (await asking(inputs, capabilities, state)).failure
    return failure.reason if failure else ""


async def test_what_a_tool_asks_for_is_the_outcome() -> None:
    outcome = await asking(ASKS, CAN)

    assert (outcome.requests, outcome.state) == (ASKS, "opaque")
    assert (outcome.result, outcome.failure) == (None, None)


@pytest.mark.parametrize("capabilities", [None, {}, {"sampling": {}}])
async def test_a_caller_that_cannot_be_asked_is_told_what_to_offer(capabilities: object) -> None:
    failure = (await asking(ASKS, capabilities)).failure

    assert failure is not None
    assert failure.reason == "INPUT_NOT_OFFERED"
    assert '"elicitation"' in failure.suggested_fix


@pytest.mark.parametrize(("method", "kind"), CAPABILITIES.items())
async def test_each_kind_of_request_needs_its_capability(method: str, kind: str) -> None:
    assert await reason({"x": {"method": method}}, {kind: {}}) == ""


@pytest.mark.parametrize(
    ("inputs", "state"),
    [
        ({}, ""),
        (None, ""),
        ([], ""),
        ({"x": {}}, ""),
        ({"x": "elicitation/create"}, ""),
        ({"x": {"method": 3}}, ""),
        ({"x": {"method": "tools/call"}}, ""),
        ({"x": {"method": "elicitation/create", "params": {1}}}, ""),
        (dict.fromkeys(map(str, range(MAX_REQUESTS + 1)), ASKS["name"]), ""),
        (ASKS, None),
        (ASKS, b"x"),
    ],
)
async def test_requests_that_are_none_are_the_tools_fault(inputs: object, state: object) -> None:
    assert await reason(inputs, CAN, state) == "TOOL_OUTPUT_INVALID"


@pytest.mark.parametrize(
    ("inputs", "state"),
    [
        (ASKS, "x" * 65_537),
        ({"x": {"method": "elicitation/create", "params": {"message": "x" * 70_000}}}, ""),
    ],
)
async def test_requests_that_are_too_large_are_refused(inputs: object, state: str) -> None:
    assert await reason(inputs, CAN, state) == "TOOL_RESULT_TOO_LARGE"


async def test_a_tool_is_told_all_of_a_call() -> None:
    tool = FakeTool()
    call = asked(
        tenant="acme",
        input={"text": "x"},
        idempotency_key="key-1",
        responses={"name": {"action": "accept"}},
        state="opaque",
        capabilities=CAN,
        timeout=timedelta(seconds=2),
    )

    await calls_of(tool).call(call)

    [seen] = tool.invocations
    assert (seen.arguments, seen.tenant, seen.timeout) == ({"text": "x"}, "acme", call.timeout)
    assert (seen.idempotency_key, seen.state) == ("key-1", "opaque")
    assert (seen.responses, seen.capabilities) == (call.responses, CAN)


async def test_without_a_key_the_calls_id_is_the_key() -> None:
    tool = FakeTool()
    calls = calls_of(tool)

    await calls.call(asked(id="call_mine"))
    await calls.call(asked())

    assert [each.idempotency_key for each in tool.invocations] == ["call_mine", "call_new"]


@pytest.mark.parametrize("key", ["x", "a b", "x" * 256, "{}~!"])
def test_a_key_may_be_any_printable_text(key: str) -> None:
    assert checked_key(key) == key


@pytest.mark.parametrize("key", ["x" * 257, " x", "x ", "a\r\nb: c", "a\0", "é", ""])
def test_a_key_that_could_not_go_on_as_a_header_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_key(key)

    assert caught.value.metadata["field"] == "idempotency_key"
    assert caught.value.metadata["suggested_fix"]
