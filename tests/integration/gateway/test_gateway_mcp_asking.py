"""Clients before 2026-07-28 that are asked something while their call runs."""

import asyncio
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    TextContent,
)
from runplane.orchestrator.v1 import orchestrator_pb2
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from tests.integration.gateway.handshaken import SESSION, handshake, handshaken
from tests.integration.gateway.places import QUESTION, Place, client
from tests.servers.registry import Told, asks, success

pytestmark = pytest.mark.asyncio(loop_scope="module")

Wire = dict[str, Any]
FORMS = {"elicitation": {}}
ANN = {"action": "accept", "content": {"name": "Ann"}}
BOB = {"action": "accept", "content": {"name": "Bob"}}
SAMPLE = {
    "method": "sampling/createMessage",
    "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "Say hello"}}],
        "maxTokens": 10,
    },
}
PAGE = {
    "method": "elicitation/create",
    "params": {"mode": "url", "message": "Sign in", "url": "https://sign.example/in"},
}


def asking(place: Place, *rounds: Wire, name: str = "greet") -> list[pb.CallToolRequest]:
    """A tool that asks for each of these in turn, and answers what it was told last. Returns the
    calls that it gets."""
    seen: list[pb.CallToolRequest] = []

    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        seen.append(request)
        done = int(request.request_state or 0)
        if done < len(rounds):
            return asks(rounds[done], str(done + 1))
        return success({"told": MessageToDict(request.input_responses)})

    place.tools.add(name)
    place.tools.answers[name] = answer
    return seen


async def tasks(place: Place) -> list[orchestrator_pb2.Task]:
    """All tasks there are, the newest first."""
    listed = await place.behind.stub.ListTasks(orchestrator_pb2.ListTasksRequest(), timeout=5)
    return list(listed.tasks)


async def ended(place: Place) -> orchestrator_pb2.Task:
    """The newest task, once it has ended."""
    async with asyncio.timeout(5):
        while True:
            task = (await tasks(place))[0]
            if task.status in ("completed", "failed", "canceled"):
                return task
            await asyncio.sleep(0.02)


async def test_a_tool_may_ask_while_it_is_called(place: Place) -> None:
    seen = asking(place, {"who": QUESTION})

    async def asked(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": params.message})

    async with client(place, "legacy", elicitation_callback=asked) as it:
        result = await it.call_tool("greet", {"at": 7})

    told = {"who": {"action": "accept", "content": {"name": "Who?"}}}
    assert (result.structured_content, result.is_error) == ({"told": told}, False)
    assert [MessageToDict(each.input) for each in seen] == [{"at": 7}] * 2
    assert "elicitation" in MessageToDict(seen[0].capabilities)
    assert len({each.idempotency_key for each in seen}) == 2


async def test_a_tool_may_ask_for_all_that_a_client_declares(place: Place) -> None:
    seen = asking(place, {"roots": {"method": "roots/list"}, "said": SAMPLE}, {"who": QUESTION})

    async def sampled(context: Any, params: Any) -> CreateMessageResult:
        said = TextContent(type="text", text="Hello")
        return CreateMessageResult(role="assistant", content=said, model="m")

    async def rooted(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[])

    async def asked(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    options = {"sampling_callback": sampled, "list_roots_callback": rooted}
    async with client(place, "legacy", elicitation_callback=asked, **options) as it:
        result = await it.call_tool("greet", {})

    assert result.structured_content == {"told": {"who": {"action": "decline"}}}
    given = MessageToDict(seen[1].input_responses)
    assert given["roots"] == {"roots": []}
    assert given["said"]["content"] == {"type": "text", "text": "Hello"}


async def test_a_call_that_asks_nothing_is_no_task(place: Place) -> None:
    asking(place)
    before = len(await tasks(place))

    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        result = await call.result()

    assert result["structuredContent"] == {"told": {}}
    assert len(await tasks(place)) == before


async def test_only_who_can_be_asked_has_a_session(place: Place) -> None:
    async with handshaken(place.mcp, {}) as plain, handshaken(place.mcp, FORMS) as able:
        refused = await able.post({**handshake(FORMS), "params": {}})

    assert (plain.session, bool(able.session)) == ("", True)
    assert SESSION not in refused.headers


async def test_a_session_that_is_none_is_not_found(place: Place) -> None:
    listing = {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}
    async with handshaken(place.mcp, FORMS) as it:
        good = await it.post(listing)
        it.session = it.session[:-8] + "AAAAAAA="
        bad = await it.post(listing)
        again = await it.post(handshake(FORMS))

    assert (good.status_code, bad.status_code, again.status_code) == (200, 404, 200)
    error = bad.json()["error"]
    assert (bad.json()["id"], error["data"]["error_code"]) == (None, "MCP_SESSION_NOT_FOUND")


async def test_a_session_cannot_be_ended_by_its_client(place: Place) -> None:
    async with handshaken(place.mcp, FORMS) as it:
        response = await it.http.delete(place.mcp, headers=it.headers)
        after = await it.post({"jsonrpc": "2.0", "id": 3, "method": "tools/list"})

    assert (response.status_code, after.status_code) == (405, 200)


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
async def test_a_client_of_each_version_that_knows_forms_is_asked(
    place: Place, version: str
) -> None:
    asking(place, {"who": QUESTION})
    async with handshaken(place.mcp, FORMS, version) as it, it.calling("greet") as call:
        await it.answer(await call.asked(), ANN)
        result = await call.result()

    assert result["structuredContent"] == {"told": {"who": ANN}}


async def test_answers_come_one_by_one_and_the_first_of_each_counts(place: Place) -> None:
    seen = asking(place, {"first": QUESTION, "second": QUESTION})
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        one, two = await call.asked(), await call.asked()
        answers = [await it.answer(one, ANN), await it.answer(one, BOB), await it.answer(two, BOB)]
        result = await call.result()
        late = await it.answer(two, ANN)

    assert [each.status_code for each in (*answers, late)] == [202] * 4
    assert {each.text for each in answers} == {""}
    assert result["structuredContent"] == {"told": {"first": ANN, "second": BOB}}
    assert len(seen) == 2


async def test_answers_may_come_all_at_once(place: Place) -> None:
    wanted = {f"q{number}": QUESTION for number in range(6)}
    seen = asking(place, wanted)
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        questions = [await call.asked() for _ in wanted]
        taken = await asyncio.gather(*(it.answer(each, ANN) for each in questions))
        result = await call.result()

    assert [each.status_code for each in taken] == [202] * len(wanted)
    assert result["structuredContent"] == {"told": dict.fromkeys(wanted, ANN)}
    assert len(seen) == 2


async def test_an_answer_of_a_round_that_is_over_answers_nothing(place: Place) -> None:
    asking(place, {"who": QUESTION}, {"who": QUESTION})
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        first = await call.asked()
        await it.answer(first, ANN)
        second = await call.asked()
        replayed = await it.answer(first, ANN)
        await it.answer(second, BOB)
        result = await call.result()

    assert first["id"] != second["id"]
    assert replayed.status_code == 202
    assert result["structuredContent"] == {"told": {"who": BOB}}


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"action": "shrug"},
        {"action": "accept", "content": "Ann"},
        {"action": "accept", "content": {"name": {"first": "Ann"}}},
        {"action": "accept", "content": {"name": 7}},
        {"action": "accept", "content": {"name": "x" * 70_000}},
    ],
    ids=["nothing", "no action", "no object", "nested", "no text", "much"],
)
async def test_what_is_no_answer_is_refused_and_the_call_waits_on(
    place: Place, result: Wire
) -> None:
    asking(place, {"who": QUESTION})
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        asked = await call.asked()
        refused = await it.answer(asked, result)
        await it.answer(asked, ANN)
        outcome = await call.result()

    assert (refused.status_code, refused.json()["id"]) == (400, None)
    assert refused.json()["error"]["data"]["error_code"] == "INVALID_REQUEST"
    assert outcome["structuredContent"] == {"told": {"who": ANN}}


@pytest.mark.parametrize("number", [7, "7", None, "x" * 5_000], ids=str)
async def test_an_answer_to_what_was_never_asked_is_refused(place: Place, number: Any) -> None:
    async with handshaken(place.mcp, FORMS) as it:
        refused = await it.answer({"id": number}, ANN)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32600)


async def test_an_answer_in_another_session_is_refused(place: Place) -> None:
    asking(place, {"who": QUESTION})
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        asked = await call.asked()
        async with handshaken(place.mcp, FORMS) as other:
            refused = await other.answer(asked, BOB)
        await it.answer(asked, ANN)
        result = await call.result()

    assert refused.status_code == 400
    assert result["structuredContent"] == {"told": {"who": ANN}}


async def test_what_is_no_response_at_all_is_refused(place: Place) -> None:
    async with handshaken(place.mcp, FORMS) as it:
        other = await it.post({"jsonrpc": "1.0", "id": "7", "result": ANN})
        neither = await it.post({"jsonrpc": "2.0", "id": "7"})

    assert (other.status_code, neither.status_code) == (400, 400)


async def test_who_fails_to_fill_in_a_form_has_cancelled_it(place: Place) -> None:
    asking(place, {"who": QUESTION})
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        taken = await it.refuse(await call.asked(), "no form today")
        result = await call.result()

    assert taken.status_code == 202
    assert result["structuredContent"] == {"told": {"who": {"action": "cancel"}}}


async def test_who_samples_nothing_has_its_call_fail(place: Place) -> None:
    seen = asking(place, {"said": SAMPLE})
    async with handshaken(place.mcp, {"sampling": {}}) as it, it.calling("greet") as call:
        taken = await it.refuse(await call.asked(SAMPLE["method"]), "the user said no")
        result = await call.result()

    assert taken.status_code == 202
    assert result["isError"]
    assert "the user said no" in result["content"][0]["text"]
    assert (len(seen), (await ended(place)).status) == (1, "canceled")


async def test_who_hangs_up_cancels_what_was_asked(place: Place) -> None:
    asking(place, {"who": QUESTION})
    async with handshaken(place.mcp, FORMS) as it:
        async with it.calling("greet") as call:
            asked = await call.asked()
        task = await ended(place)
        late = await it.answer(asked, ANN)

    assert (task.status, late.status_code) == ("canceled", 202)


async def test_who_never_answers_is_told_when_the_time_is_over(place: Place) -> None:
    asking(place, {"who": QUESTION})
    more = {"X-Request-Timeout": "1s"}
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet", **more) as call:
        asked = await call.asked()
        result = await call.result()
        task = await ended(place)
        late = await it.answer(asked, ANN)

    assert result["isError"]
    assert result["content"][0]["text"].startswith("TOOL_TIMEOUT")
    assert (task.status, late.status_code) == ("canceled", 202)


async def test_a_client_is_not_asked_in_a_mode_that_it_does_not_declare(place: Place) -> None:
    asking(place, {"who": PAGE})
    async with handshaken(place.mcp, FORMS) as it, it.calling("greet") as call:
        result = await call.result()

    assert result["content"][0]["text"].startswith("TOOL_INPUT_REFUSED")
    assert (await ended(place)).status == "canceled"


async def test_a_page_to_go_to_has_a_name_of_its_own(place: Place) -> None:
    asking(place, {"who": PAGE})
    able = {"elicitation": {"form": {}, "url": {}}}
    async with handshaken(place.mcp, able) as it, it.calling("greet") as call:
        asked = await call.asked()
        await it.answer(asked, {"action": "accept"})
        result = await call.result()

    assert asked["params"].pop("elicitationId")
    assert asked["params"] == PAGE["params"]
    assert result["structuredContent"] == {"told": {"who": {"action": "accept"}}}


@pytest.mark.parametrize(
    ("answer", "is_called"), [({"approved": True}, True), ({"approved": False}, False)]
)
async def test_a_client_is_asked_whether_its_agent_may_call_a_tool(
    place: Place, answer: Wire, is_called: bool
) -> None:
    name = f"careful-{is_called}".lower()
    place.tools.add("weather")
    await place.agent(name, tools=["weather"], approval_tools=["*"])
    query = {"query": 'tool:weather {"city": "Oslo"}'}
    async with (
        handshaken(place.mcp, FORMS) as it,
        it.calling(f"agent__{name}", query) as call,
    ):
        asked = await call.asked()
        await it.answer(asked, {"action": "accept", "content": answer})
        result = await call.result()

    assert "weather be called" in asked["params"]["message"]
    assert not result["isError"]
    assert bool(place.tools.called) is is_called


async def test_what_a_call_that_asked_says_and_answers_comes_as_of_any_other(place: Place) -> None:
    block = {"type": "image", "data": "aGk=", "mimeType": "image/png"}

    async def answer(request: pb.CallToolRequest, tell: Told) -> pb.CallToolResponse:
        if not request.HasField("input_responses"):
            return asks({"who": QUESTION})
        log = pb.ToolLog(level="info", message="drawing")
        await tell(pb.ToolCallEvent(type="log", log=log))
        return success({"content": [block]})

    place.tools.add("draw", reports_progress=True)
    place.tools.answers["draw"] = answer
    async with handshaken(place.mcp, FORMS) as it, it.calling("draw") as call:
        await it.answer(await call.asked(), ANN)
        heard = await call.asked("notifications/message")
        result = await call.result()

    assert heard["params"] == {"level": "info", "data": "drawing", "logger": "draw"}
    assert result["content"] == [block]
    assert "structuredContent" not in result
