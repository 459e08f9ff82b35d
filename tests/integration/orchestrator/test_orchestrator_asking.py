"""Tools that ask for something while they run: the task waits for whoever answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb

from services.chassis.asking import MAX_REQUEST_BYTES
from services.orchestrator.domain.asking import MAX_ROUNDS
from services.orchestrator.settings import TaskSettings
from tests.integration.orchestrator.places import BRIEFLY, Place, parked, placed
from tests.integration.orchestrator.talks import call_in, log_of, reason_of, start, state_of, talk
from tests.servers.registry import Told, asks, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOOK = "tool:book {}\nBooked."
DATE = {
    "method": "elicitation/create",
    "params": {
        "message": "Which day?",
        "requestedSchema": {
            "type": "object",
            "properties": {"day": {"type": "integer", "minimum": 1, "maximum": 31}},
            "required": ["day"],
        },
    },
}
ACCEPTED = {"date": {"action": "accept", "content": {"day": 7}}}


async def book(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
    """Asks for a date, and says what it was told."""
    if not request.HasField("input_responses"):
        return asks({"date": DATE}, "sealed")
    given = MessageToDict(request.input_responses)
    return success({"told": given, "state": request.request_state})


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """With a tool that asks."""
    async with booking() as found:
        yield found


@asynccontextmanager
async def booking(tasks: TaskSettings | None = None) -> AsyncIterator[Place]:
    async with placed(tasks) as found:
        found.tools.add("book", is_idempotent=True)
        found.tools.answers["book"] = book
        yield found


def responses(given: Mapping[str, Any]) -> Struct:
    return ParseDict(dict(given), Struct())


def told(events: list[pb.TaskEvent]) -> Any:
    (result,) = [event for event in events if event.type == "tool_result"]
    return MessageToDict(result.output)["told"]


async def waiting(place: Place, **fields: Any) -> tuple[str, str]:
    """A task whose tool waits for an answer, and the call."""
    request = pb.InvokeRequest(query=BOOK, **fields)
    task = await place.suite.stub.CreateTask(request, timeout=5)
    await state_of(place.suite, task.task_id, "waiting")
    return task.task_id, await call_in(place.suite, task.task_id, "input_required")


async def test_what_a_tool_asks_for_is_given_to_it_in_band(place: Place) -> None:
    async with talk(place.suite, **start(BOOK)) as it:
        asked = await it.until("input_required")
        waits = await it.until("status_changed")
        answer = pb.ToolResult(tool_call_id=asked.tool_call_id, input_responses=responses(ACCEPTED))
        await it.say(tool_result=answer)
        given = await it.until("input_given")
        await it.rest()

    assert MessageToDict(asked.input_requests) == {"date": DATE}
    assert (waits.status, waits.wants) == ("waiting", "input")
    assert (given.author, MessageToDict(given.input_responses)) == ("local", ACCEPTED)
    assert told(it.events) == ACCEPTED
    assert it.events[-1].status == "completed"
    first, second = (each.request for each in place.tools.called)
    assert MessageToDict(first.capabilities) == {"elicitation": {}}
    assert (second.request_state, second.tool_call_id) == ("sealed", first.tool_call_id)
    assert first.idempotency_key != second.idempotency_key


async def test_an_answer_by_rpc_is_heard_also_when_nobody_had_the_task() -> None:
    async with booking(BRIEFLY) as place, parked() as nobodys:
        task_id, call_id = await waiting(place)
        await nobodys.of(task_id)
        submit = pb.SubmitToolResultRequest(
            task_id=task_id, tool_call_id=call_id, input_responses=responses(ACCEPTED)
        )

        await place.suite.stub.SubmitToolResult(submit, timeout=5)

        await state_of(place.suite, task_id, "completed")
        again = await place.suite.stub.SubmitToolResult(submit, timeout=5)
        assert again.status == "completed"
        assert told(await log_of(place.suite, task_id)) == ACCEPTED


async def test_a_denial_declines_all_that_a_tool_asks_for(place: Place) -> None:
    task_id, call_id = await waiting(place)
    deny = pb.DenyToolCallRequest(task_id=task_id, tool_call_id=call_id)

    await place.suite.stub.DenyToolCall(deny, timeout=5)

    await state_of(place.suite, task_id, "completed")
    assert told(await log_of(place.suite, task_id)) == {"date": {"action": "decline"}}
    assert (await place.suite.stub.DenyToolCall(deny, timeout=5)).status == "completed"


async def test_a_cancel_of_what_it_asks_for_goes_to_the_tool(place: Place) -> None:
    task_id, call_id = await waiting(place)
    no = {"date": {"action": "cancel"}}
    submit = pb.SubmitToolResultRequest(
        task_id=task_id, tool_call_id=call_id, input_responses=responses(no)
    )

    await place.suite.stub.SubmitToolResult(submit, timeout=5)

    await state_of(place.suite, task_id, "completed")
    assert told(await log_of(place.suite, task_id)) == no


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input_responses": {}}, "input_responses.date"),
        ({"input_responses": {**ACCEPTED, "time": {}}}, "input_responses.time"),
        ({"input_responses": {"date": {"action": "shrug"}}}, "input_responses.date.action"),
        ({"input_responses": {"date": "7"}}, "input_responses.date.action"),
        (
            {"input_responses": {"date": {"action": "accept", "content": {"day": 32}}}},
            "input_responses.date.content.day",
        ),
        ({"output": Value(number_value=7)}, "input_responses"),
        ({"input_responses": ACCEPTED, "error": "no"}, "error"),
    ],
)
async def test_what_is_no_answer_is_refused_and_the_task_waits_on(
    place: Place, fields: dict[str, Any], field: str
) -> None:
    task_id, call_id = await waiting(place)
    if "input_responses" in fields:
        fields = {**fields, "input_responses": responses(fields["input_responses"])}
    submit = pb.SubmitToolResultRequest(task_id=task_id, tool_call_id=call_id, **fields)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await place.suite.stub.SubmitToolResult(submit, timeout=5)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(caught.value.details()).startswith(f"{field}: ")
    task = await place.suite.stub.GetTask(pb.GetTaskRequest(task_id=task_id), timeout=5)
    assert task.status == "waiting"


async def test_an_answer_that_nobody_asked_for_is_refused(place: Place) -> None:
    task = await place.suite.stub.Invoke(pb.InvokeRequest(query="Hello"), timeout=5)
    submit = pb.SubmitToolResultRequest(
        task_id=task.task_id, tool_call_id="call_1", input_responses=responses(ACCEPTED)
    )

    code, reason = await reason_of(place.suite.stub.SubmitToolResult(submit, timeout=5))

    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_ALREADY_ENDED")


async def test_a_tool_may_ask_again_and_not_for_ever(place: Place) -> None:
    async def pester(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        return asks({"date": DATE}, f"round {len(place.tools.called)}")

    place.tools.answers["book"] = pester
    async with talk(place.suite, **start(BOOK)) as it:
        states = []
        for _ in range(MAX_ROUNDS):
            asked = await it.until("input_required")
            states.append(asked.request_state)
            answer = pb.ToolResult(
                tool_call_id=asked.tool_call_id, input_responses=responses(ACCEPTED)
            )
            await it.until("status_changed")
            await it.say(tool_result=answer)
        result = await it.until("tool_result")
        await it.rest()

    assert states == [f"round {number + 1}" for number in range(MAX_ROUNDS)]
    assert (result.status, result.error.error_code) == ("error", "TOOL_INPUT_REFUSED")
    assert len({each.request.idempotency_key for each in place.tools.called}) == MAX_ROUNDS + 1
    assert it.events[-1].status == "completed"


@pytest.mark.parametrize(
    "requests",
    [
        {"model": {"method": "sampling/createMessage", "params": {}}},
        {"date": {"method": "elicitation/create", "params": {"message": "?" * MAX_REQUEST_BYTES}}},
        {},
    ],
    ids=["sampling", "much", "nothing"],
)
async def test_what_nobody_is_to_be_asked_is_a_call_that_failed(
    place: Place, requests: dict[str, object]
) -> None:
    async def ask(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
        return asks(requests)

    place.tools.answers["book"] = ask
    events = await place.ran(BOOK)

    (result,) = [event for event in events if event.type == "tool_result"]
    assert result.error.error_code == "TOOL_INPUT_REFUSED"
    assert events[-1].status == "completed"


BOTH = {"date": DATE, "hour": DATE}


async def book_both(request: tools_pb.CallToolRequest, _: Told) -> tools_pb.CallToolResponse:
    """Asks for two things at once, and says what it was told."""
    if not request.HasField("input_responses"):
        return asks(BOTH, "sealed")
    return success({"told": MessageToDict(request.input_responses)})


async def test_answers_may_come_one_by_one(place: Place) -> None:
    place.tools.answers["book"] = book_both
    task_id, call_id = await waiting(place)
    submit = pb.SubmitToolResultRequest(task_id=task_id, tool_call_id=call_id)

    submit.input_responses.CopyFrom(responses(ACCEPTED))
    parts = [await place.suite.stub.SubmitToolResult(submit, timeout=5) for _ in range(2)]
    submit.input_responses.CopyFrom(responses({"hour": {"action": "decline"}}))
    await place.suite.stub.SubmitToolResult(submit, timeout=5)
    await state_of(place.suite, task_id, "completed")

    for part in parts:
        (pending,) = part.pending_requests
        assert (part.status, list(pending.input_requests)) == ("waiting", ["hour"])
    assert parts[0].last_sequence == parts[1].last_sequence
    log = await log_of(place.suite, task_id)
    assert told(log) == {**ACCEPTED, "hour": {"action": "decline"}}
    said = [event for event in log if event.type in ("input_received", "input_given")]
    assert [MessageToDict(each.input_responses).keys() for each in said] == [
        {"date"},
        {"date", "hour"},
    ]
    assert len(place.tools.called) == 2


async def test_a_part_is_kept_also_when_nobody_has_the_task() -> None:
    async with booking(BRIEFLY) as place, parked() as nobodys:
        place.tools.answers["book"] = book_both
        task_id, call_id = await waiting(place)
        submit = pb.SubmitToolResultRequest(task_id=task_id, tool_call_id=call_id)
        for name in BOTH:
            await nobodys.of(task_id)
            submit.input_responses.CopyFrom(responses({name: ACCEPTED["date"]}))
            await place.suite.stub.SubmitToolResult(submit, timeout=5)

        await state_of(place.suite, task_id, "completed")
        assert told(await log_of(place.suite, task_id)) == dict.fromkeys(BOTH, ACCEPTED["date"])
