"""Which tools a task has, and in which versions: its tenant's, looked up once."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from runplane.orchestrator.v1 import agents_pb2
from runplane.orchestrator.v1 import orchestrator_pb2 as pb
from runplane.tool_registry.v1 import tool_registry_pb2 as tools_pb

from services.orchestrator.domain.catalogue import MOST_OFFERED
from tests.integration.orchestrator.places import BRIEFLY, Place, parked, placed
from tests.integration.orchestrator.talks import reason_of, start, talk

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEATHER = "tool:weather {}\nIt is warm."
HERS = (("runplane-tenant", "hers"), ("runplane-subject", "ann"))


@pytest_asyncio.fixture(loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """With a tool in three versions."""
    async with placed() as found:
        for version in ("1.0.0", "1.2.0", "2.0.0"):
            found.tools.add("weather", version)
        yield found


def names(start: pb.TaskEvent) -> list[tuple[str, str]]:
    return [(tool.name, tool.version) for tool in start.tools.tools]


@pytest.mark.parametrize(
    ("asked", "version"),
    [
        ([], "2.0.0"),
        (["weather"], "2.0.0"),
        (["weather@^1.0"], "1.2.0"),
        (["weather@1.0.0"], "1.0.0"),
        (["weather@>=1 <2"], "1.2.0"),
    ],
)
async def test_a_tool_is_called_in_the_version_that_was_asked_for(
    place: Place, asked: list[str], version: str
) -> None:
    events = await place.ran(WEATHER, tools=asked)

    assert names(events[0]) == [("weather", version)]
    assert place.versions() == [version]
    called = [event for event in events if event.type in ("tool_call", "tool_result")]
    assert [event.tool_version for event in called] == [version, version]


async def test_a_call_names_itself_to_its_tool(place: Place) -> None:
    events = await place.ran(WEATHER)

    (called,) = place.tools.called
    (call_id,) = {event.tool_call_id for event in events if event.type == "tool_call"}
    assert (called.request.tool_call_id, called.request.idempotency_key) == (call_id, call_id)


async def test_a_task_keeps_its_version_whatever_comes_later(place: Place) -> None:
    asked = start(WEATHER, tools=["weather@^1.0"], approval_tools=["weather"])
    async with talk(place.suite, **asked) as it:
        called = await it.until("approval_required")
        place.tools.add("weather", "1.9.0").state = tools_pb.TOOL_STATE_DEPRECATED
        yes = pb.ToolApproval(tool_call_id=called.tool_call_id, approved=True)
        await it.say(approval=yes)
        await it.rest()

    assert place.versions() == ["1.2.0"]
    assert it.events[-1].status == "completed"


async def test_a_call_of_a_tool_that_was_deleted_meanwhile_fails_and_says_so(place: Place) -> None:
    async with talk(place.suite, **start(WEATHER, approval_tools=["weather"])) as it:
        called = await it.until("approval_required")
        place.tools.tools.clear()
        yes = pb.ToolApproval(tool_call_id=called.tool_call_id, approved=True)
        await it.say(approval=yes)
        result = await it.until("tool_result")
        await it.rest()

    assert (result.status, result.error.error_code) == ("error", "TOOL_NOT_FOUND")
    assert it.events[-1].status == "completed"


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        (["nothing"], "TOOL_NOT_FOUND", "tools[0]"),
        (["weather", "nothing@1.0.0"], "TOOL_NOT_FOUND", "tools[1]"),
        (["weather@^3"], "TOOL_VERSION_NOT_FOUND", "tools[0]"),
        (["weather@"], "INVALID_REQUEST", "tools[0]"),
        (["weather@1.0.0", "weather@^2"], "INVALID_REQUEST", "tools[1]"),
        (["agent__x@1"], "INVALID_REQUEST", "tools[0]"),
    ],
)
async def test_a_tool_that_is_not_there_is_named(
    place: Place, asked: list[str], reason: str, field: str
) -> None:
    request = pb.InvokeRequest(query="Hello", tools=asked)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await place.suite.stub.Invoke(request, timeout=5)

    said = str(caught.value.details())
    assert said.startswith(f"{field}: ")
    _, found = await reason_of(place.suite.stub.Invoke(request, timeout=5))
    assert found == reason


async def test_a_tool_can_be_named_as_soon_as_it_is_there(place: Place) -> None:
    await place.ran(WEATHER)  # The list of tools is known from here on.
    place.tools.add("tide")

    events = await place.ran("tool:tide {}\nHigh.", tools=["tide"])

    assert events[-1].status == "completed"
    assert names(events[0]) == [("tide", "1.0.0")]


async def test_each_tenant_has_its_own_tools(place: Place) -> None:
    place.tools.add("secret", tenant="hers")

    hers = await place.ran("tool:secret {}\nok", metadata=HERS)
    mine = await place.ran(WEATHER)

    assert [name for name, _ in names(hers[0])] == ["weather", "secret"]
    assert [name for name, _ in names(mine[0])] == ["weather"]
    who = place.tools.called[0].who.principal
    assert (who.tenant, who.subject) == ("hers", "ann")
    asked = pb.InvokeRequest(query="Hello", tools=["secret"])
    code, reason = await reason_of(place.suite.stub.Invoke(asked, timeout=5))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "TOOL_NOT_FOUND")


async def test_a_task_that_is_taken_up_again_calls_for_its_own_tenant() -> None:
    async with placed(BRIEFLY) as place, parked() as nobodys:
        place.tools.add("secret", tenant="hers")
        asked = pb.InvokeRequest(query="tool:secret {}\nok", approval_tools=["secret"])
        task = await place.suite.stub.CreateTask(asked, timeout=5, metadata=HERS)
        stub, get = place.suite.stub, pb.GetTaskRequest(task_id=task.task_id)
        watch = pb.WatchTaskRequest(task_id=task.task_id)
        events = stub.WatchTask(watch, timeout=20, metadata=HERS)
        call_id = ""
        async for event in events:
            call_id = event.tool_call_id or call_id
            if event.status == "waiting":
                break
        await nobodys.of(task.task_id)
        yes = pb.ApproveToolCallRequest(task_id=task.task_id, tool_call_id=call_id)
        await stub.ApproveToolCall(yes, timeout=5, metadata=(HERS[0], ("runplane-subject", "bob")))
        async for _ in events:
            pass

        assert (await stub.GetTask(get, timeout=5, metadata=HERS)).status == "completed"
        who = place.tools.called[0].who.principal
        assert (who.tenant, who.subject) == ("hers", "ann")


async def test_a_deprecated_tool_is_for_those_who_name_it(place: Place) -> None:
    place.tools.add("old").state = tools_pb.TOOL_STATE_DEPRECATED

    unnamed = await place.ran(WEATHER)
    named = await place.ran("tool:old {}\nok", tools=["old"])

    assert names(unnamed[0]) == [("weather", "2.0.0")]
    assert names(named[0]) == [("old", "1.0.0")]
    assert named[-1].status == "completed"


async def test_more_tools_than_a_model_can_choose_from_are_not_offered(place: Place) -> None:
    place.tools.add("calculator", kind=tools_pb.TOOL_KIND_BUILTIN)
    for number in range(MOST_OFFERED):
        place.tools.add(f"tool_{number}")

    events = await place.ran("Hello")

    assert names(events[0]) == [("calculator", "1.0.0")]
    assert events[0].tools.left_out == MOST_OFFERED + 1
    assert [event.warning.code for event in events if event.type == "warning"] == [
        "TOOLS_NOT_OFFERED"
    ]
    assert [each.code for each in events[-1].warnings] == ["TOOLS_NOT_OFFERED"]


async def test_a_task_that_names_its_tools_has_no_others_listed(place: Place) -> None:
    events = await place.ran(WEATHER, tools=["weather"])

    assert events[-1].status == "completed"
    assert place.tools.listed == []
    await place.ran(WEATHER)
    assert place.tools.listed == ["state = active"]


async def test_tools_whose_schemas_are_long_together_are_offered_all_the_same(place: Place) -> None:
    for number in range(40):
        schema = {"type": "object", "description": "d" * 4000}
        place.tools.add(f"tool_{number}", input_schema=schema)

    events = await place.ran("tool:tool_0 {}\nDone.")

    assert len(events[0].tools.tools) == 41
    assert (events[-1].status, len(place.tools.called)) == ("completed", 1)


async def test_a_tool_of_the_registry_may_be_one_that_the_client_runs(place: Place) -> None:
    place.tools.add("click", kind=tools_pb.TOOL_KIND_CLIENT)
    async with talk(place.suite, **start("tool:click {}\nClicked.")) as it:
        asked = await it.until("input_required")
        result = pb.ToolResult(tool_call_id=asked.tool_call_id)
        result.output.string_value = "done"
        await it.say(tool_result=result)
        await it.rest()

    assert (asked.tool_name, asked.HasField("input_requests")) == ("click", False)
    assert (it.events[-1].status, place.tools.called) == ("completed", [])


async def test_an_agents_range_holds_for_requests_that_name_the_tool(place: Place) -> None:
    agent = agents_pb2.Agent(agent_id="forecaster", tools=["weather@^1.0"])
    await place.suite.agents.CreateAgent(agents_pb2.CreateAgentRequest(agent=agent), timeout=5)

    inherited = await place.ran(WEATHER, agent_id="forecaster")
    narrowed = await place.ran(WEATHER, agent_id="forecaster", tools=["weather@1.0.0"])
    named = await place.ran(WEATHER, agent_id="forecaster", tools=["weather"])
    wider = pb.InvokeRequest(query="Hello", agent_id="forecaster", tools=["weather@2.0.0"])
    code, reason = await reason_of(place.suite.stub.Invoke(wider, timeout=5))

    assert [names(events[0]) for events in (inherited, narrowed, named)] == [
        [("weather", "1.2.0")],
        [("weather", "1.0.0")],
        [("weather", "1.2.0")],
    ]
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOOL_NOT_ALLOWED")
