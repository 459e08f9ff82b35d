"""The tool with which an agent reads on in large results."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.hotstore.memory import MemoryHotStore
from services.chassis.objectstore.memory import MemoryObjectStore
from services.orchestrator.adapters.tasklog import EventStoreTaskLog
from services.orchestrator.adapters.values import Values
from services.orchestrator.domain import events as ev
from services.orchestrator.domain.prompt import EXCERPT_CHARACTERS
from services.orchestrator.domain.references import readable
from services.orchestrator.domain.task import Task
from services.orchestrator.equipment import Equipment
from services.orchestrator.reading import MOST_BYTES, NAME, Reading, equipped
from services.orchestrator.toolports import Invocation, Returned
from tests.unit.orchestrator.fakes import MODEL, NOW, SPEC, TURN, FakeTools, tool

TEXTS = ["first " + "é\n" * 5000, 'second "' * 2000]
BODIES = [json.dumps(text, ensure_ascii=False).encode() for text in TEXTS]
GIVEN = Equipment(MODEL, {"look": tool()})


def calling(name: str, given: Mapping[str, object]) -> Invocation:
    return Invocation(tool(name), "call_9", given, timeout=1)


class Read:
    """A task with these large results, and the tools it has."""

    def __init__(self, log: EventStoreTaskLog, task: Task) -> None:
        self.task = task
        self.others = FakeTools([tool()], [Returned({"other": True}, None, 1.0)])
        self.tools = Reading(self.others, log, task)

    async def part(self, **given: object) -> dict[str, Any]:
        """What the tool reads."""
        returned = await self.tools.call(calling(NAME, given))
        assert isinstance(returned.output, dict)
        return returned.output


async def reading(*texts: str) -> Read:
    values = Values(MemoryObjectStore(), 1024)
    log = EventStoreTaskLog(
        MemoryEventStore(),
        MemoryHotStore(),
        owner="worker_1",
        lease=timedelta(seconds=8),
        values=values,
    )
    task, claim = await log.begin(ev.Started(NOW, SPEC), None)
    for number, text in enumerate(texts, 1):
        call_id = f"call_{number}"
        called = ev.ToolCalled(NOW, number, 1, call_id, "look", "1.0.0", {}, TURN)
        returned = ev.ToolReturned(NOW, number, 1, call_id, "look", "1.0.0", text, None, 1.0)
        task = await log.append(task, [called, returned], claim)
    return Read(log, task)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("length", [None, 1, MOST_BYTES])
async def test_an_agent_can_read_a_result_to_its_end(number: int, length: int | None) -> None:
    it = await reading(*TEXTS)
    more = {} if length is None else {"length": length}
    whole, offset = BODIES[number - 1], len(BODIES[number - 1]) - 7_000 if length == 1 else 0
    begin, texts, reads = offset, [], 0
    while offset is not None and reads < 400:
        read = await it.part(of=f"call_{number}", offset=offset, **more)
        offset, reads = read["next_offset"], reads + 1
        texts.append(read["text"])

    assert whole[begin:].decode(errors="ignore").startswith("".join(texts))
    assert offset is None or length == 1


@pytest.mark.parametrize("number", [1, 2])
async def test_what_is_read_is_shown_whole(number: int) -> None:
    it = await reading(*TEXTS)
    read = await it.part(of=f"call_{number}", length=MOST_BYTES)

    assert len(json.dumps(read, ensure_ascii=False)) <= EXCERPT_CHARACTERS


async def test_without_a_call_it_is_the_latest_result_from_its_beginning() -> None:
    it = await reading(*TEXTS)
    read = await it.part()

    assert (read["of"], read["offset"]) == ("call_2", 0)
    assert read["size_bytes"] == len(BODIES[1])
    assert BODIES[1].decode().startswith(read["text"])


async def test_beyond_the_end_there_is_nothing_more() -> None:
    it = await reading(*TEXTS)
    read = await it.part(offset=2_000_000_000)

    assert (read["text"], read["next_offset"], read["offset"]) == ("", None, len(BODIES[1]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("of", "call_7"),
        ("of", 1),
        ("of", ["call_1"]),
        ("offset", -1),
        ("offset", 1.5),
        ("offset", True),
        ("offset", 2**31),
        ("offset", "0"),
        ("length", 0),
        ("length", MOST_BYTES + 1),
        ("length", None),
    ],
)
async def test_what_it_cannot_read_it_refuses_and_names(field: str, value: object) -> None:
    it = await reading(*TEXTS)

    with pytest.raises(InvalidArgument) as caught:
        await it.part(**{field: value})

    assert caught.value.reason == "TOOL_INPUT_INVALID"
    assert [violation.field for violation in caught.value.violations] == [field]


async def test_every_other_tool_is_called_as_ever() -> None:
    it = await reading(*TEXTS)
    returned = await it.tools.call(calling("look", {"a": 1}))

    assert returned.output == {"other": True}
    assert it.others.called == [("look", {"a": 1})]


async def test_without_a_large_result_the_tool_is_not_there() -> None:
    it = await reading("small")
    await it.tools.call(calling(NAME, {}))

    assert it.others.called == [(NAME, {})]
    assert equipped(GIVEN, SPEC, readable(it.task)) is GIVEN


async def test_it_is_offered_with_the_calls_that_it_can_read() -> None:
    it = await reading(*TEXTS)
    offered = equipped(GIVEN, SPEC, readable(it.task)).tools
    again = equipped(GIVEN, SPEC, readable(replace(it.task))).tools

    assert list(offered) == ["look", NAME]
    assert offered[NAME] is again[NAME]
    assert offered[NAME].input_schema["properties"]["of"] == {  # type: ignore[index]
        "enum": ["call_1", "call_2"]
    }


async def test_a_task_that_may_call_no_tools_is_not_offered_it() -> None:
    it = await reading(*TEXTS)
    none = Equipment(MODEL, {})

    assert equipped(none, replace(SPEC, has_tools=False), readable(it.task)) is none
