"""`DefinitionService` over real sockets."""

from typing import Any

import pytest
from runplane.workflow.v1 import definitions_pb2 as dpb

from services.workflow.settings import DefinitionSettings
from tests.integration.workflow.world import DOCUMENTS, World, plain, refused, started, struct

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACME = {"runplane_tenant": "acme", "runplane_subject": "ada"}


def named(name: str, more: str = "") -> str:
    return f"name: {name}\nstate_machine:\n  a: {{transitions: [b]}}\n{more}"


async def listed(world: World, **fields: Any) -> dpb.ListDefinitionsResponse:
    request = dpb.ListDefinitionsRequest(**fields)
    return await world.definitions.ListDefinitions(request, timeout=5)


async def got(world: World, name: str, version: int = 0) -> dpb.Definition:
    request = dpb.GetDefinitionRequest(name=name, version=version)
    return await world.definitions.GetDefinition(request, timeout=5)


async def test_a_definition_is_stored_and_shown_as_it_stands(world: World) -> None:
    made = await world.define(DOCUMENTS)

    assert (made.name, made.version, made.owner) == ("document_processing", 1, "local")
    assert made.initial_state == "draft"
    states = ["draft", "review", "publish", "approved", "rejected", "indexed"]
    assert sorted(made.states) == sorted(states)
    assert sorted(made.terminal_states) == ["approved", "indexed", "rejected"]
    assert made.event_source == "kafka://events/document-events"
    assert plain(made.definition)["state_machine"]["draft"] == {
        "transitions": ["review", "publish"]
    }
    assert await got(world, "document_processing") == made


async def test_the_same_document_as_object_or_text_is_the_same_version(world: World) -> None:
    one = await world.define(named("same"))
    document = {"name": "same", "state_machine": {"a": {"transitions": ["b"]}}}

    two = await world.definitions.CreateDefinition(
        dpb.CreateDefinitionRequest(definition=struct(document)), timeout=5
    )

    assert two == one


async def test_another_document_is_the_next_version_and_the_old_one_stays(world: World) -> None:
    await world.define(named("versions"))
    newer = await world.define(named("versions", "description: newer"))

    assert newer.version == 2
    assert (await got(world, "versions")).description == "newer"
    assert (await got(world, "versions", 1)).description == ""


async def test_one_that_is_only_checked_is_not_stored(world: World) -> None:
    request = dpb.CreateDefinitionRequest(yaml=named("checked"), validate_only=True)

    made = await world.definitions.CreateDefinition(request, timeout=5)

    assert (made.name, made.version, made.initial_state) == ("checked", 0, "a")
    assert not made.HasField("create_time")
    missing = await refused(got(world, "checked"))
    assert missing.what == ("NOT_FOUND", "DEFINITION_NOT_FOUND")


async def test_what_is_odd_is_said_and_stored_all_the_same(world: World) -> None:
    made = await world.define(
        "name: odd\nstate_machine:\n  review: {transitions: [reviev, done]}\n  reviev: {}\n"
        "  other: {transitions: [review]}\n  more: {transitions: [other, othr]}\n"
    )

    assert {each.code for each in made.warnings} == {"DEFINITION_WARNING"}
    assert (await got(world, "odd")).version == made.version


async def test_all_that_is_wrong_is_said_at_once_with_places_and_fixes(world: World) -> None:
    refusal = await refused(
        world.define(
            "name: x\nstate_machine:\n  a: {transitions: [b], validater: approver}\n"
            "  b: {on_enter: [{tool: t, input: {q: '${data.n +}'}}], on_success: b}\n"
        )
    )

    assert refusal.what == ("INVALID_ARGUMENT", "DEFINITION_INVALID")
    said = {each.field: each.description for each in refusal.violations}
    assert len(refusal.violations) == 4
    assert "(line 3, column 25; did you mean validator?)" in said["yaml.state_machine.a.validater"]
    assert "line 4, column 50" in said["yaml.state_machine.b.on_enter[0].input.q"]
    assert refusal.metadata["field"] == "yaml.state_machine.a.validater"
    assert refusal.metadata["suggested_fix"]


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "INVALID_REQUEST", "definition"),
        ({"yaml": named("x"), "definition": {"name": "x"}}, "INVALID_REQUEST", "definition"),
        ({"yaml": "{"}, "DEFINITION_INVALID", "yaml"),
        ({"definition": {"name": "x"}}, "DEFINITION_INVALID", "definition"),
        ({"yaml": "x" * 300_000}, "DEFINITION_INVALID", "yaml"),
    ],
    ids=["nothing", "both", "no yaml", "no states", "too long"],
)
async def test_what_is_no_definition_is_refused_with_field_and_fix(
    world: World, fields: dict[str, Any], reason: str, field: str
) -> None:
    if "definition" in fields:
        fields = fields | {"definition": struct(fields["definition"])}
    request = dpb.CreateDefinitionRequest(**fields)

    refusal = await refused(world.definitions.CreateDefinition(request, timeout=5))

    assert refusal.what == ("INVALID_ARGUMENT", reason)
    assert refusal.metadata["field"] == field
    assert refusal.metadata["suggested_fix"]


@pytest.mark.parametrize(
    ("name", "version", "what"),
    [
        ("nothing", 0, ("NOT_FOUND", "DEFINITION_NOT_FOUND")),
        ("nothing", 3, ("NOT_FOUND", "DEFINITION_NOT_FOUND")),
        ("one", 7, ("NOT_FOUND", "DEFINITION_VERSION_NOT_FOUND")),
        ("one", -1, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
    ],
)
async def test_one_that_is_not_there_is_named(
    world: World, name: str, version: int, what: tuple[str, str]
) -> None:
    await world.define(named("one"))

    assert (await refused(got(world, name, version))).what == what


async def test_lists_go_by_pages_and_filters(world: World) -> None:
    for name in ("page_a", "page_b", "page_c"):
        await world.define(named(name))
    chosen = 'name >= "page_a" AND name <= "page_c"'

    first = await listed(world, page_size=2, filter=chosen)
    second = await listed(world, page_size=2, filter=chosen, page_token=first.next_page_token)
    one = await listed(world, filter="name = page_b")

    assert [each.name for each in first.definitions] == ["page_a", "page_b"]
    assert [each.name for each in second.definitions] == ["page_c"]
    assert second.next_page_token == ""
    assert [each.name for each in one.definitions] == ["page_b"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"page_size": -1}, "PAGE_SIZE_INVALID"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID"),
        ({"filter": "owner = ada"}, "FILTER_INVALID"),
    ],
)
async def test_a_list_that_cannot_be_is_refused(
    world: World, fields: dict[str, Any], reason: str
) -> None:
    assert (await refused(listed(world, **fields))).what == ("INVALID_ARGUMENT", reason)


async def test_tenants_have_definitions_of_their_own(world: World) -> None:
    await world.define(named("mine"))
    theirs = await world.define(named("mine", "description: theirs"), **ACME)

    assert (theirs.version, theirs.owner) == (1, "ada")
    assert (await got(world, "mine")).description == ""


async def test_there_is_a_bound_for_definitions_and_for_versions() -> None:
    async with started(definitions=DefinitionSettings(most=1, versions=2)) as world:
        await world.define(named("a"))
        other = await refused(world.define(named("b")))
        await world.define(named("a", "description: two"))
        third = await refused(world.define(named("a", "description: three")))
        same = await world.define(named("a", "description: two"))

    assert other.what == ("RESOURCE_EXHAUSTED", "TOO_MANY_DEFINITIONS")
    assert third.what == ("RESOURCE_EXHAUSTED", "TOO_MANY_DEFINITION_VERSIONS")
    assert same.version == 2


async def test_events_must_not_be_published_to_where_signals_come_from(world: World) -> None:
    refusal = await refused(
        world.define(named("echo", "event_source: kafka://events/workflow-signals"))
    )

    assert refusal.what == ("INVALID_ARGUMENT", "DEFINITION_INVALID")
    assert refusal.metadata["field"].endswith("event_source")
