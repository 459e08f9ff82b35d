"""Tools of all sizes, and the schema that binds a step which may call any of them."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from services.orchestrator.adapters.schemas import CompiledSchemas
from services.orchestrator.domain.binding import unbound
from services.orchestrator.domain.events import Started
from services.orchestrator.domain.step import Plan
from services.orchestrator.domain.task import replay
from services.orchestrator.domain.tool import Tool
from services.orchestrator.equipment import Equipment
from services.orchestrator.planning import Planner
from tests.unit.orchestrator.fakes import MODEL, NOW, SPEC, FakeModels, bench, tool

SCHEMAS = CompiledSchemas()
ANSWER = {"type": "object", "properties": {"day": {"type": "integer"}}}
SMALL = [tool(f"small_{number}") for number in range(3)]


def sized(name: str, kilobytes: int) -> Tool:
    """A tool whose input's schema is so long."""
    described = {"type": "object", "description": "d" * kilobytes * 1024}
    return replace(tool(name), input_schema=described)


def deep(levels: int) -> Tool:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return replace(tool("deep"), input_schema=schema)


def patterned(name: str, patterns: int) -> Tool:
    members = {f"p{n}": {"type": "string", "pattern": "^a$"} for n in range(patterns)}
    return replace(tool(name), input_schema={"type": "object", "properties": members})


CASES: list[tuple[list[Tool], set[str]]] = [
    (SMALL, set()),
    ([*SMALL, sized("large", 40)], set()),
    ([*SMALL, sized("large", 60), sized("larger", 62)], {"larger"}),
    ([sized("long", 70), sized("longer", 80), *SMALL], {"long", "longer"}),
    ([*SMALL, deep(14)], {"deep"}),
    ([patterned("one", 9), patterned("another", 10), *SMALL], {"another"}),
]


@pytest.mark.parametrize(("tools", "names"), CASES)
@pytest.mark.parametrize("answer", [None, ANSWER], ids=["text", "schema"])
def test_as_few_inputs_as_it_takes_are_any_object(
    tools: list[Tool], names: set[str], answer: dict[str, object] | None
) -> None:
    found = unbound(tuple(tools), answer, SCHEMAS.fits)

    plan = Plan(tools, True, answer, 512, unbound=found)
    assert found == names
    assert (schema := plan.schema()) is not None
    assert SCHEMAS.fits(schema)


def test_more_tools_than_a_schema_can_hold_are_offered_all_the_same() -> None:
    tools = [sized(f"tool_{number:02}", 2) for number in range(64)]

    found = unbound(tuple(tools), None, SCHEMAS.fits)

    schema = Plan(tools, True, None, 512, unbound=found).schema()
    assert schema is not None
    assert SCHEMAS.fits(schema)
    assert 0 < len(found) < len(tools)


async def test_what_a_step_cannot_bind_is_found_out_once_a_task() -> None:
    class Counting(CompiledSchemas):
        asked = 0

        def fits(self, schema: Mapping[str, object]) -> bool:
            self.asked += 1
            return super().fits(schema)

    schemas = Counting()
    tools = {each.name: each for each in (sized("large", 60), sized("larger", 62))}
    async with bench() as beside:
        budget = beside.budget
    planner = Planner(FakeModels(), schemas, budget, Equipment(MODEL, tools))
    task = replay([Started(NOW, replace(SPEC, response_schema=ANSWER))])

    first = await planner.plan(task, is_last=False)
    asked = schemas.asked
    second = await planner.plan(task, is_last=False)

    assert first.unbound == second.unbound == {"larger"}
    assert 0 < asked == schemas.asked
