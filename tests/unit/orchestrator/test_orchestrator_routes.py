"""Which model a request gets when it is accepted, and what its log keeps of that."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.orchestrator.adapters import codec
from services.orchestrator.domain.routing import Policy, RequestClass, Route, Rule
from services.orchestrator.domain.task import Task, evolve
from services.orchestrator.mapping import tasks as mapping
from services.orchestrator.ports import Model
from tests.unit.orchestrator.fakes import REQUEST, Bench, bench, caller

BIG = Model("big", "2", 100_000, 512, input_usd=5.0, output_usd=20.0)
OPEN = Model("open", "3", 100_000, 512, capabilities=frozenset({"generate"}))
DEFAULT = Route(
    "default",
    (
        Rule(
            Policy.PINNED,
            ("big",),
            classes=frozenset({RequestClass.LONG_REASONING}),
            fallback=("fake",),
            priority="batch",
        ),
        Rule(Policy.CHEAPEST),
    ),
)
HALF = Route("half", (Rule(Policy.CANARY, ("fake", "big"), percent=50),))
ROUTES = {each.name: each for each in (DEFAULT, HALF)}


async def asked(it: Bench, *, routes: Mapping[str, Route] = ROUTES, **changes: Any) -> Task:
    """A task of such a request, with these routes."""
    it.routes, it.models.others = routes, (BIG, OPEN)
    return await it.tasks.create(replace(REQUEST, tool_choice="none", **changes), caller())


async def test_a_request_that_names_no_model_is_routed_by_default() -> None:
    async with bench() as it:
        task = await asked(it, request_class="long_reasoning")

    assert task.spec.routed is not None
    assert (task.spec.model, task.spec.model_version) == ("big", "2")
    assert (task.spec.routed.route, task.spec.routed.models) == ("default", ("big", "fake"))


async def test_the_priority_of_its_class_goes_along_with_its_turns() -> None:
    async with bench() as it:
        task = await asked(it, request_class="long_reasoning")
        await it.tasks.continue_(
            it.tasks._marks.made(task.spec.task_id, tenant="default", owner="local"),
            None,
            caller(),
            default_timeout=task.deadline - task.create_time,
        )

    (turn,) = it.models.asked
    assert (turn.model, turn.priority, turn.affinity) == ("big", "batch", task.spec.session_id)


@pytest.mark.parametrize("name", ["big", "fake"])
async def test_a_model_that_is_named_is_not_routed(name: str) -> None:
    async with bench() as it:
        task = await asked(it, model=name)

    assert (task.spec.model, task.spec.routed) == (name, None)


async def test_without_a_default_route_the_default_model_answers() -> None:
    async with bench() as it:
        task = await asked(it, routes={"half": HALF})

    assert (task.spec.model, task.spec.routed) == ("fake", None)


async def test_a_route_can_be_named_as_a_model_and_a_session_keeps_what_it_got() -> None:
    async with bench(max_running=100) as it:
        tasks = [await asked(it, model="half") for _ in range(12)]
        firsts = {task.spec.session_id: task.spec.model for task in tasks}
        again = {
            session_id: (
                await asked(it, model="half", session_id=session_id, on_busy="interrupt")
            ).spec.model
            for session_id in firsts
        }

    assert again == firsts
    assert set(firsts.values()) == {"fake", "big"}


async def test_tools_are_nothing_for_a_model_that_no_schema_binds() -> None:
    route = Route("r", (Rule(Policy.CHEAPEST, ("open", "big")),))
    async with bench() as it:
        free = await asked(it, routes={"r": route}, model="r")
        it.models.others = (BIG, OPEN)
        bound = await it.tasks.create(replace(REQUEST, model="r"), caller())

    assert (free.spec.model, bound.spec.model) == ("open", "big")


async def test_what_failed_a_moment_ago_is_not_asked_first() -> None:
    async with bench() as it:
        it.seen.failed(("default", "big"))
        task = await asked(it, request_class="long_reasoning")

    assert task.spec.model == "fake"


async def test_a_route_without_a_model_refuses_the_request() -> None:
    async with bench() as it:
        with pytest.raises(FailedPrecondition) as caught:
            await asked(it, routes={"r": Route("r", (Rule(Policy.PINNED, ("gone",)),))}, model="r")

    assert caught.value.reason == "ROUTE_HAS_NO_MODEL"
    assert it.log.kinds() == []


async def test_a_name_that_is_neither_route_nor_model_is_not_found() -> None:
    async with bench() as it:
        with pytest.raises(NotFound) as caught:
            await asked(it, model="nobody")

    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert caught.value.metadata["routes"] == "default, half"


async def test_a_kind_of_work_that_there_is_not_is_refused() -> None:
    async with bench() as it:
        with pytest.raises(InvalidArgument) as caught:
            await asked(it, request_class="guessing")

    assert [each.field for each in caught.value.violations] == ["request_class"]


async def test_the_log_keeps_what_was_chosen_and_why() -> None:
    async with bench() as it:
        task = await asked(it, request_class="long_reasoning")
        stored = codec.encode(it.log.events[0], evolve(None, it.log.events[0]))

    read = evolve(None, codec.decode(stored, "default"))
    assert read.spec.routed == task.spec.routed
    shown = mapping.task(read).metadata
    assert (shown.routing.policy, shown.routing.reason) == ("pinned", "the first of its rule")
    assert (shown.routing.request_class, list(shown.routing.models)) == (
        "long_reasoning",
        ["big", "fake"],
    )
