"""Starting, showing and listing workflows."""

from collections.abc import Callable
from typing import Any

import pytest
from runplane.workflow.v1 import workflow_pb2 as pb

from tests.integration.workflow.world import DOCUMENTS, World, plain, refused, struct

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACME = {"runplane_tenant": "acme", "runplane_subject": "ada"}
SCHEMA = """
name: strict
schema: {type: object, required: [id], properties: {id: {type: string}, n: {type: integer}}}
state_machine: {a: {transitions: [b]}}
"""


async def listed(
    world: World, metadata: tuple[tuple[str, str], ...] = (), **fields: Any
) -> pb.ListWorkflowsResponse:
    request = pb.ListWorkflowsRequest(**fields)
    return await world.workflows.ListWorkflows(request, timeout=5, metadata=metadata)


async def found(world: World, condition: str) -> list[str]:
    page = await listed(world, filter=condition)
    return [each.workflow_id for each in page.workflows]


async def test_a_workflow_begins_with_the_shape_that_users_see(world: World) -> None:
    started = await world.run(DOCUMENTS, {"doc_id": "doc_1"}, labels={"team": "docs"})

    assert started.workflow_id.startswith("wf_")
    assert (started.definition, started.version) == ("document_processing", 1)
    assert (started.current_state, started.status) == ("draft", "waiting")
    assert (started.state, started.waits_for) == (pb.WORKFLOW_STATE_WAITING, "signal")
    assert list(started.transitions) == ["review", "publish"]
    assert plain(started.data) == {"doc_id": "doc_1"}
    assert started.correlation_id == started.workflow_id
    assert (started.last_sequence, started.owner) == (1, "local")
    assert await world.get(started) == started


@pytest.mark.parametrize(
    ("fields", "what", "field"),
    [
        ({"definition": ""}, ("INVALID_ARGUMENT", "INVALID_REQUEST"), "definition"),
        ({"definition": "nothing"}, ("NOT_FOUND", "DEFINITION_NOT_FOUND"), "definition"),
        ({"version": 9}, ("NOT_FOUND", "DEFINITION_VERSION_NOT_FOUND"), "version"),
        ({"version": -1}, ("INVALID_ARGUMENT", "INVALID_REQUEST"), "version"),
        ({"data": {"n": 1}}, ("INVALID_ARGUMENT", "WORKFLOW_DATA_INVALID"), "id"),
        ({"data": {"id": "x" * 300_000}}, ("INVALID_ARGUMENT", "WORKFLOW_DATA_INVALID"), "data"),
        ({"data": {"n": 2.0**60}}, ("INVALID_ARGUMENT", "INVALID_REQUEST"), "data.n"),
        ({"correlation_id": "x" * 257}, ("INVALID_ARGUMENT", "INVALID_REQUEST"), "correlation_id"),
        ({"labels": {"a": "x\0"}}, ("INVALID_ARGUMENT", "INVALID_REQUEST"), "labels"),
        ({"labels": {"a": "x" * 257}}, ("INVALID_ARGUMENT", "INVALID_REQUEST"), "labels"),
        (
            {"labels": {f"n{n}": "" for n in range(33)}},
            ("INVALID_ARGUMENT", "INVALID_REQUEST"),
            "labels",
        ),
        (
            {"idempotency_key": "x" * 257},
            ("INVALID_ARGUMENT", "INVALID_REQUEST"),
            "idempotency_key",
        ),
    ],
)
async def test_what_cannot_be_started_is_refused_and_nothing_begins(
    world: World, fields: dict[str, Any], what: tuple[str, str], field: str
) -> None:
    await world.define(SCHEMA)
    before = len(await found(world, "definition = strict"))

    refusal = await refused(world.start(**({"definition": "strict", "data": {"id": "a"}} | fields)))

    assert refusal.what == what
    assert refusal.metadata["field"].endswith(field)
    assert refusal.metadata["suggested_fix"]
    assert len(await found(world, "definition = strict")) == before


async def test_data_that_the_schema_forbids_is_named_with_its_place_in_the_schema(
    world: World,
) -> None:
    await world.define(SCHEMA)

    refusal = await refused(world.start("strict", {"id": "a", "n": "many"}))

    assert refusal.metadata["schema_path"] == "/properties/n/type"


async def test_one_that_is_not_there_is_named(world: World) -> None:
    calls: list[Callable[[str], Any]] = [
        world.get,
        lambda name: world.signal(name, target="a"),
        world.approve,
        world.reject,
        world.cancel,
        world.compensate,
        world.events,
    ]

    for call in calls:
        for name in ("wf_nothing", "definition/strict", "x"):
            assert (await refused(call(name))).what == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")


async def test_the_same_key_is_the_same_workflow(world: World) -> None:
    await world.define(DOCUMENTS)
    one = await world.start("document_processing", {"n": 1}, idempotency_key="start-1")
    two = await world.start("document_processing", {"n": 1}, idempotency_key="start-1")
    beside = await world.start(
        "document_processing", {"n": 1}, metadata={"idempotency_key": "start-1"}
    )
    other = await refused(world.start("document_processing", {"n": 2}, idempotency_key="start-1"))
    theirs = await refused(
        world.start("document_processing", {"n": 1}, idempotency_key="start-1", metadata=ACME)
    )

    assert one == two == beside
    assert other.what == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")
    assert theirs.what == ("NOT_FOUND", "DEFINITION_NOT_FOUND")


async def test_a_key_returns_the_workflow_as_it_stands_by_now(world: World) -> None:
    await world.define(DOCUMENTS)
    first = await world.start("document_processing", idempotency_key="start-2")
    await world.signal(first, target="review")

    again = await world.start("document_processing", idempotency_key="start-2")

    assert (again.workflow_id, again.current_state) == (first.workflow_id, "review")


async def test_workflows_go_on_with_the_version_that_they_began_with(world: World) -> None:
    old = await world.run("name: grows\nstate_machine: {a: {transitions: [b]}}")
    await world.define("name: grows\nstate_machine: {a: {transitions: [c]}}")
    new = await world.start("grows")
    chosen = await world.start("grows", version=1)

    assert (await world.signal(old, target="b")).status == "completed"
    assert (await world.signal(new, target="c")).status == "completed"
    assert (chosen.version, list(chosen.transitions)) == (1, ["b"])


async def test_lists_show_the_newest_first_by_pages(world: World) -> None:
    await world.define("name: paged\nstate_machine: {a: {transitions: [b]}}")
    begun = [(await world.start("paged")).workflow_id for _ in range(5)]
    chosen = "definition = paged"

    shown: list[str] = []
    token = ""
    for _ in range(3):
        page = await listed(world, page_size=2, filter=chosen, page_token=token)
        shown += [each.workflow_id for each in page.workflows]
        token = page.next_page_token

    assert shown == sorted(begun, reverse=True)  # Of one millisecond, in any order.
    assert token == ""


async def test_each_field_filters(world: World) -> None:
    await world.define("name: filtered\nstate_machine: {a: {transitions: [b]}}")
    started = await world.start(
        "filtered", correlation_id="order-7", labels={"team": "docs", "n": "1"}
    )
    moved = await world.signal((await world.start("filtered")).workflow_id, target="b")
    one, other = [started.workflow_id], [moved.workflow_id]
    every = sorted(one + other, reverse=True)
    both = 'definition = "filtered" AND '
    at = f"{started.create_time.ToDatetime():%Y-%m-%dT%H:%M:%S.%fZ}"

    assert await found(world, both + "status = waiting") == one
    assert await found(world, both + "status = completed") == other
    assert await found(world, both + "status = WORKFLOW_STATE_COMPLETED") == other
    assert await found(world, both + "current_state = b") == other
    assert await found(world, both + 'correlation_id = "order-7"') == one
    assert await found(world, both + "labels.team = docs AND labels.n = '1'") == one
    assert await found(world, both + "version = 1 AND owner = local") == every
    assert await found(world, both + "version > 1") == []
    assert await found(world, both + 'parent_workflow_id = ""') == every
    assert await found(world, both + f'create_time > "{at}"') == other
    assert await found(world, both + f'update_time <= "{at}"') == one
    assert await found(world, both + 'create_time < "2026-01-01T00:00:00Z"') == []
    assert await found(world, both + "NOT status = waiting") == other


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "PAGE_SIZE_INVALID"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ({"filter": "data.id = 1"}, "FILTER_INVALID"),
        ({"filter": "status = sleeping"}, "FILTER_INVALID"),
        ({"filter": "status ="}, "FILTER_INVALID"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(
    world: World, fields: dict[str, Any], reason: str
) -> None:
    assert (await refused(listed(world, **fields))).what == ("INVALID_ARGUMENT", reason)


async def test_a_token_is_for_the_list_that_it_came_with(world: World) -> None:
    await world.define("name: tokens\nstate_machine: {a: {transitions: [b]}}")
    workflow, _ = await world.start("tokens"), await world.start("tokens")
    page = await listed(world, page_size=1, filter="definition = tokens")
    other = await refused(listed(world, page_size=1, page_token=page.next_page_token))
    events = await refused(world.events(workflow, page_token=page.next_page_token))

    assert other.reason == events.reason == "PAGE_TOKEN_INVALID"


async def test_tenants_do_not_see_each_other(world: World) -> None:
    yaml = "name: apart\nstate_machine: {a: {transitions: [b]}}"
    mine = await world.run(yaml)
    await world.define(yaml, **ACME)
    theirs = await world.start("apart", metadata=ACME)
    metadata = (("runplane-tenant", "acme"), ("runplane-subject", "ada"))
    chosen = {"filter": "definition = apart"}
    signal = pb.SignalWorkflowRequest(
        workflow_id=mine.workflow_id, target="b", payload=struct({"x": 1})
    )

    hidden = await refused(world.workflows.SignalWorkflow(signal, timeout=5, metadata=metadata))

    assert hidden.what == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")
    assert (await refused(world.get(theirs))).what == ("NOT_FOUND", "WORKFLOW_NOT_FOUND")
    assert theirs.owner == "ada"
    assert [w.workflow_id for w in (await listed(world, **chosen)).workflows] == [mine.workflow_id]
    page = await listed(world, metadata, **chosen)
    assert [w.workflow_id for w in page.workflows] == [theirs.workflow_id]
    assert (await world.get(mine)).current_state == "a"
