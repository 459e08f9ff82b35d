"""Tools that are registered, changed and deleted over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import structs
from services.tool_registry.settings import RegistrySettings
from tests.integration.tool_registry.conftest import Registry, fault_of, request, started
from tests.integration.tool_registry.lives import DOOR, got, listed, registered, tool, updated
from tests.servers.postgres import postgres

OTHER = {"runplane-tenant": "other", "runplane-subject": "you"}
WIDER = {
    **DOOR["input_schema"],
    "properties": {"which": {"type": "string"}, "slowly": {"type": "boolean"}},
}
NARROWER = {**DOOR["input_schema"], "properties": {"which": {"enum": ["front"]}}}


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """An empty registry of a test's own."""
    async with started() as opened:
        yield opened


async def test_a_tool_lives(registry: Registry) -> None:
    made = await registered(registry)
    wider = await updated(registry, input_schema=WIDER)
    narrower = await updated(registry, input_schema=NARROWER, version="2.0.0")

    assert (made.version, made.owner, made.kind) == ("1.0.0", "local", pb.TOOL_KIND_CLIENT)
    assert (made.timeout_ms, made.state) == (30_000, pb.TOOL_STATE_ACTIVE)
    assert made.create_time.seconds
    assert (wider.version, wider.description) == ("1.1.0", "Opens a door.")
    assert [await got(registry), await got(registry, "^1")] == [narrower, wider]
    assert await listed(registry) == ["door 2.0.0"]

    await registry.stub.DeleteTool(pb.DeleteToolRequest(name="door"), timeout=5)

    gone = await registry.refused("GetTool", pb.GetToolRequest(name="door"))
    assert (gone.code, gone.info.reason) == (grpc.StatusCode.NOT_FOUND, "TOOL_NOT_FOUND")
    assert await listed(registry) == []


async def test_a_deprecated_version_is_passed_over_and_says_why(registry: Registry) -> None:
    await registered(registry)
    await updated(registry, input_schema=NARROWER, version="2.0.0")

    asked = pb.DeprecateToolRequest(name="door", version="2.0.0", message="stay with 1")
    marked = await registry.stub.DeprecateTool(asked, timeout=5)

    assert (marked.state, marked.deprecation) == (pb.TOOL_STATE_DEPRECATED, "stay with 1")
    assert await listed(registry) == ["door 1.0.0"]
    assert await got(registry, "^2") == marked
    assert await listed(registry, filter="state = deprecated") == []


async def test_a_deprecated_tool_is_taken_up_again(registry: Registry) -> None:
    await registered(registry)
    asked = pb.DeprecateToolRequest(name="door", message="no more")
    await registry.stub.DeprecateTool(asked, timeout=5)
    assert await listed(registry, filter="state = active AND name = door") == []

    again = pb.UndeprecateToolRequest(name="door")
    found = await registry.stub.UndeprecateTool(again, timeout=5)

    assert (found.state, found.deprecation) == (pb.TOOL_STATE_ACTIVE, "")
    assert await listed(registry, filter="state = active AND name = door") == ["door 1.0.0"]


async def test_versions_are_listed_in_pages(registry: Registry) -> None:
    await registered(registry)
    for number in range(5):
        await updated(registry, title=f"number {number}")

    found, token = [], ""
    for size in (4, 9):
        asked = pb.ListToolVersionsRequest(name="door", page_size=size, page_token=token)
        page = await registry.stub.ListToolVersions(asked, timeout=5)
        found += [each.version for each in page.tools]
        token = page.next_page_token

    assert found == [f"1.{n}.0" for n in range(5, -1, -1)]
    assert token == ""


async def test_a_token_of_one_tool_is_none_of_another(registry: Registry) -> None:
    for name in ("door", "gate"):
        await registered(registry, name=name)
        await updated(registry, name, title="x")
    first = pb.ListToolVersionsRequest(name="door", page_size=1)
    token = (await registry.stub.ListToolVersions(first, timeout=5)).next_page_token

    other = pb.ListToolVersionsRequest(name="gate", page_token=token)
    fault = await registry.refused("ListToolVersions", other)

    assert fault.info.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("as_metadata", [True, False])
async def test_the_same_key_registers_once(registry: Registry, as_metadata: bool) -> None:
    async def register(**changes: object) -> pb.Tool:
        asked = pb.RegisterToolRequest(tool=tool(**changes))
        metadata = [("idempotency-key", "k")] if as_metadata else []
        asked.idempotency_key = "" if as_metadata else "k"
        return await registry.stub.RegisterTool(asked, metadata=metadata, timeout=5)

    assert await register() == await register()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await register(title="other")
    assert fault_of(caught.value).info.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_tenants_have_tools_of_their_own(registry: Registry) -> None:
    await registered(registry)
    asked = pb.RegisterToolRequest(tool=tool(version="7.0.0"))
    theirs = await registry.stub.RegisterTool(asked, metadata=list(OTHER.items()), timeout=5)

    assert (theirs.owner, theirs.version) == ("you", "7.0.0")
    assert (await got(registry)).version == "1.0.0"
    deleting = pb.DeleteToolRequest(name="door")
    await registry.stub.DeleteTool(deleting, metadata=list(OTHER.items()), timeout=5)
    assert await listed(registry) == ["door 1.0.0"]
    fault = await registry.refused("DeleteTool", deleting, **OTHER)
    assert fault.info.reason == "TOOL_NOT_FOUND"


async def test_what_the_caller_may_not_say_is_not_kept(registry: Registry) -> None:
    made = await registered(
        registry,
        owner="me",
        source="mcp:x",
        state="TOOL_STATE_DEPRECATED",
        deprecation="x",
        reports_progress=True,
        unavailable="x",
        create_time="2000-01-01T00:00:00Z",
    )

    assert (made.owner, made.source, made.deprecation) == ("local", "", "")
    assert (made.state, made.reports_progress, made.unavailable) == (1, False, "")
    assert made.create_time.ToDatetime().year > 2000


SCHEMAS: dict[str, Any] = {
    "no schema": {"type": "thing"},
    "no object": {"type": "array"},
    "remote": {"type": "object", "properties": {"a": {"$ref": "https://x.example/schema.json"}}},
    "file": {"type": "object", "$ref": "file:///etc/passwd"},
    "1 MB": {"type": "object", "description": "x" * 1_000_000},
    "endless": {
        "type": "object",
        "allOf": [{"$ref": "#/$defs/a"}] * 2,
        "$defs": {
            f"{name}": {"allOf": [{"$ref": f"#/$defs/{after}"}] * 9}
            for name, after in zip("abcdefg", "bcdefga", strict=True)
        },
    },
    "slow pattern": {"type": "object", "properties": {"a": {"pattern": "(a+)+$(?=b)"}}},
}


@pytest.mark.parametrize("name", SCHEMAS)
async def test_a_schema_that_is_none_is_refused_and_nothing_kept(
    registry: Registry, name: str
) -> None:
    asked = pb.RegisterToolRequest(tool=tool(input_schema=SCHEMAS[name]))

    fault = await registry.refused("RegisterTool", asked)

    assert (fault.code, fault.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SCHEMA_INVALID")
    assert fault.info.metadata["field"] == "tool.input_schema"
    assert fault.info.metadata["suggested_fix"]
    assert await listed(registry) == []


async def test_a_recursive_schema_is_kept_and_checked(registry: Registry) -> None:
    tree = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "parts": {"type": "array", "items": {"$ref": "#"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    await registered(registry, input_schema=tree)

    good = request("door", name="a", parts=[{"name": "b", "parts": []}])
    bad = request("door", name="a", parts=[{"parts": []}])

    assert (await registry.fault(good)).info.reason == "TOOL_RUNS_AT_CLIENT"
    assert (await registry.fault(bad)).info.reason == "TOOL_INPUT_INVALID"
    wider = {**tree, "properties": {**tree["properties"], "note": {"type": "string"}}}  # type: ignore[dict-item]
    assert (await updated(registry, input_schema=wider)).version == "1.1.0"


@pytest.mark.parametrize(
    ("changes", "code", "reason", "field"),
    [
        ({"name": "a b"}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool.name"),
        ({"name": "read_result"}, "ALREADY_EXISTS", "TOOL_ALREADY_EXISTS", "tool.name"),
        ({"name": "calculator"}, "ALREADY_EXISTS", "TOOL_ALREADY_EXISTS", "tool.name"),
        ({"version": "one"}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool.version"),
        ({"client": None}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool"),
        ({"tags": ["No"]}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool.tags[0]"),
        ({"timeout_ms": -1}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool.timeout_ms"),
        ({"timeout_ms": "NaN"}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool.timeout_ms"),
        ({"default": 2**60}, "INVALID_ARGUMENT", "INVALID_REQUEST", "tool.default"),
    ],
)
async def test_bad_input_names_the_field_and_the_fix(
    registry: Registry, changes: dict[str, Any], code: str, reason: str, field: str
) -> None:
    document = {name: value for name, value in {**DOOR, **changes}.items() if value is not None}
    asked = pb.RegisterToolRequest(tool=json_format.ParseDict(document, pb.Tool()))

    fault = await registry.refused("RegisterTool", asked)

    assert (fault.code.name, fault.info.reason) == (code, reason)
    assert fault.info.metadata["field"] == field
    assert fault.info.metadata["suggested_fix"]
    assert await listed(registry) == []


async def test_a_break_is_told_with_its_place_and_changes_nothing(registry: Registry) -> None:
    await registered(registry)
    asked = pb.UpdateToolRequest(name="door", tool=tool(input_schema=NARROWER))
    asked.tool.ClearField("name")

    fault = await registry.refused("UpdateTool", asked)

    assert (fault.code.name, fault.info.reason) == ("FAILED_PRECONDITION", "TOOL_CHANGE_BREAKING")
    assert fault.info.metadata["schema_path"] == "/properties/which/enum"
    assert "2.0.0" in fault.info.metadata["suggested_fix"]
    assert fault.fields == ["tool.input_schema"]
    assert await listed(registry) == ["door 1.0.0"]


@pytest.mark.parametrize("version", ["1.0.0", "0.1.0"])
async def test_a_version_that_goes_backwards_is_refused(registry: Registry, version: str) -> None:
    await registered(registry)
    asked = pb.UpdateToolRequest(name="door", tool=pb.Tool(version=version, title="x"))

    fault = await registry.refused("UpdateTool", asked)

    assert (fault.code.name, fault.info.reason) == ("FAILED_PRECONDITION", "TOOL_VERSION_NOT_NEWER")


async def test_a_mask_can_empty_a_field(registry: Registry) -> None:
    await registered(registry, is_idempotent=True)
    asked = pb.UpdateToolRequest(name="door", update_mask=["is_idempotent", "tags"])

    changed = await registry.stub.UpdateTool(asked, timeout=5)

    assert (changed.is_idempotent, list(changed.tags), changed.version) == (False, [], "1.1.0")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("tags.home = true", ["door 1.0.0"]),
        ("kind = builtin", []),
        ("kind = client AND owner = local", ["door 1.0.0"]),
        ("kind = TOOL_KIND_CLIENT AND state = TOOL_STATE_ACTIVE", ["door 1.0.0"]),
        ("name = calculator OR name = door", ["door 1.0.0"]),
        ("server = x", []),
    ],
)
async def test_lists_are_filtered(registry: Registry, where: str, found: list[str]) -> None:
    await registered(registry)

    assert await listed(registry, filter=where) == found


@pytest.mark.parametrize(
    "where",
    ["colour = red", "name", "(", "x" * 3000, "tags. = true", "kind = banana", "state = gone"],
)
async def test_a_filter_that_is_none_is_refused(registry: Registry, where: str) -> None:
    fault = await registry.refused("ListTools", pb.ListToolsRequest(filter=where))

    assert (fault.code.name, fault.info.reason) == ("INVALID_ARGUMENT", "FILTER_INVALID")


async def test_built_in_tools_are_filtered_as_well(registry: Registry) -> None:
    page = await registry.stub.ListTools(pb.ListToolsRequest(filter="name > calculator"), timeout=5)

    assert [each.name for each in page.tools] == ["current_time", "unit_convert"]


async def test_an_approval_holds_for_a_tool_that_comes_later() -> None:
    async with started(approval={"door"}) as registry:
        made = await registered(registry)
        page = await registry.stub.ListTools(pb.ListToolsRequest(filter="name = door"), timeout=5)

    assert (made.requires_approval, page.tools[0].requires_approval) == (True, True)


async def test_a_tool_runs_in_the_version_that_was_asked_for(registry: Registry) -> None:
    await registered(registry)
    await updated(registry, input_schema=NARROWER, version="2.0.0")
    asked = request("door", which="back")
    asked.version = "^1"

    old = await registry.fault(asked)
    asked.version = "^2"
    new = await registry.fault(asked)
    asked.version = "^3"
    none = await registry.fault(asked)

    assert old.info.reason == "TOOL_RUNS_AT_CLIENT"
    assert new.info.reason == "TOOL_INPUT_INVALID"
    assert none.info.reason == "TOOL_VERSION_NOT_FOUND"


async def test_there_are_no_more_tools_and_versions_than_there_may_be() -> None:
    async with started(registry=RegistrySettings(tools=1, versions=2)) as registry:
        await registered(registry)
        await updated(registry, title="x")
        more = pb.UpdateToolRequest(name="door", tool=pb.Tool(title="y"))
        tools = await registry.refused("RegisterTool", pb.RegisterToolRequest(tool=tool(name="b")))
        versions = await registry.refused("UpdateTool", more)

    assert (tools.code.name, tools.info.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_TOOLS")
    assert versions.info.reason == "TOO_MANY_TOOL_VERSIONS"


async def test_tools_outlive_the_service(tmp_path: Path) -> None:
    async with started(event_store=f"sqlite:///{tmp_path}") as before:
        await registered(before)
        wanted = await updated(before, input_schema=WIDER)
    async with started(event_store=f"sqlite:///{tmp_path}") as after:
        assert await listed(after) == ["door 1.1.0"]
        assert await got(after) == wanted
        assert structs.to_dict((await got(after, "1.0.0")).input_schema) == DOOR["input_schema"]
        assert (await updated(after, title="Door")).version == "1.2.0"


async def test_two_replicas_see_each_others_changes() -> None:
    with postgres() as server:
        async with (
            started(event_store=server.url, cache_ttl="50ms") as here,
            started(event_store=server.url, cache_ttl="50ms") as there,
        ):
            await registered(here)
            assert (await got(there)).version == "1.0.0"
            await updated(here, title="Door")

            assert await listed(there) == ["door 1.1.0"]
            async with asyncio.timeout(5):
                while (await got(there)).version != "1.1.0":
                    pass

            both = await asyncio.gather(
                *(updated(each, title=f"by {n}") for n, each in enumerate((here, there))),
                return_exceptions=True,
            )
            lost = [fault_of(e) for e in both if isinstance(e, grpc.aio.AioRpcError)]
            assert {each.info.reason for each in lost} <= {"TOOL_VERSION_CONFLICT"}
            versions = pb.ListToolVersionsRequest(name="door")
            count = len((await here.stub.ListToolVersions(versions, timeout=5)).tools)
            assert count == 2 + 2 - len(lost)


async def test_a_page_of_large_tools_fits_into_an_answer_and_none_is_lost(
    registry: Registry,
) -> None:
    large = {**DOOR["input_schema"], "description": "x" * 60_000}
    names = [f"door{n:02d}" for n in range(50)]
    for name in names:
        await registered(registry, name=name, input_schema=large)

    page = await registry.stub.ListTools(pb.ListToolsRequest(page_size=1000), timeout=10)

    assert page.next_page_token
    assert page.ByteSize() < 2 * 1024 * 1024 + 10_000
    assert await listed(registry, page_size=1000) == [f"{name} 1.0.0" for name in names]
