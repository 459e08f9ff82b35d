"""What becomes of tools that are registered, changed, marked and deleted."""

import asyncio
from collections.abc import Callable

import pytest

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, Claim
from services.chassis.schema import Schema
from services.tool_registry.domain.caller import Caller
from services.tool_registry.domain.changes import is_same
from services.tool_registry.domain.targets import Http
from services.tool_registry.domain.tool import Default, Entry, Example
from tests.unit.tool_registry.fakes import ANY, entry
from tests.unit.tool_registry.kit import LOCAL, NOW, Kit, kit

OTHER = Caller("other", "you")


def schema(**properties: object) -> Schema:
    return Schema(
        {"type": "object", "properties": properties, "additionalProperties": False}, field="input"
    )


TEXT: dict[str, object] = {"type": "string"}
WIDER = schema(place=TEXT, unit=TEXT)
NARROWER = schema(place={"enum": ["Oslo"]})


class SlowStore(MemoryEventStore):
    """Lets others in between a look and a write."""

    async def append(self, batch: Append) -> Claim | None:
        """See `EventStore`."""
        await asyncio.sleep(0)
        return await super().append(batch)


async def with_tool(**changes: object) -> Kit:
    here = kit()
    await here.registry.register(entry(**changes), LOCAL)
    return here


async def updated(
    of: Kit, mask: str, version: str = "", *, name: str = "weather", **changes: object
) -> Entry:
    return await of.registry.update(LOCAL, name, entry(**changes), mask.split(), version)


async def refused(doing: object, kind: type[ServiceError], reason: str) -> ServiceError:
    with pytest.raises(kind) as caught:
        await doing  # type: ignore[misc]
    assert caught.value.reason == reason
    return caught.value


async def test_a_registered_tool_has_an_owner_and_a_time() -> None:
    made = await kit().registry.register(entry(owner="", create_time=None), OTHER)

    assert (made.owner, made.create_time) == ("you", NOW)


async def test_a_name_is_taken_once_in_a_tenant_and_once_in_another() -> None:
    here = await with_tool()

    again = here.registry.register(entry(), LOCAL)
    await refused(again, AlreadyExists, "TOOL_ALREADY_EXISTS")
    assert (await here.registry.register(entry(), OTHER)).owner == "you"


@pytest.mark.parametrize(
    "name", ["calculator", "Calculator", "read_result", "agent__helper", "AGENT__x", "Read_Result"]
)
async def test_a_name_that_is_everybodys_is_taken(name: str) -> None:
    error = await refused(
        kit().registry.register(entry(name=name), LOCAL), AlreadyExists, "TOOL_ALREADY_EXISTS"
    )

    assert error.metadata["field"] == "tool.name"


async def test_of_two_that_register_a_name_at_once_one_does() -> None:
    here = kit(SlowStore())

    ends = await asyncio.gather(
        *(here.registry.register(entry(title=each), LOCAL) for each in "ab"),
        return_exceptions=True,
    )

    assert [type(each) for each in ends].count(AlreadyExists) == 1


async def test_a_deleted_name_comes_back_with_a_higher_version() -> None:
    here = await with_tool(version="1.2.0")
    await here.registry.delete(LOCAL, "weather")

    await refused(
        here.registry.register(entry(version="1.2.0"), LOCAL),
        FailedPrecondition,
        "TOOL_VERSION_NOT_NEWER",
    )
    await here.registry.register(entry(version="1.2.1"), LOCAL)


async def test_the_same_key_is_the_same_tool_and_never_another() -> None:
    here = kit()
    await here.registry.register(entry(), LOCAL, key="k", fingerprint="one")
    await updated(here, "title", title="Weather")

    again = await here.registry.register(entry(), LOCAL, key="k", fingerprint="one")
    assert (again.definition.version, again.definition.title) == ("1.0.0", "")
    await refused(
        here.registry.register(entry(name="b"), LOCAL, key="k", fingerprint="two"),
        AlreadyExists,
        "IDEMPOTENCY_KEY_REUSED",
    )


@pytest.mark.parametrize("after", [None, "2.0.0"])
async def test_a_key_whose_tool_was_deleted_says_so_and_that_another_key_helps(
    after: str | None,
) -> None:
    here = kit()
    await here.registry.register(entry(), LOCAL, key="k", fingerprint="one")
    await here.registry.delete(LOCAL, "weather")
    if after is not None:
        await here.registry.register(entry(version=after), LOCAL)

    with pytest.raises(NotFound) as caught:
        await here.registry.register(entry(), LOCAL, key="k", fingerprint="one")
    assert caught.value.reason == "TOOL_NOT_FOUND"
    assert caught.value.message == (
        "the idempotency key stands for weather 1.0.0, which was deleted"
    )
    assert caught.value.metadata["field"] == "idempotency_key"
    assert "another key" in caught.value.metadata["suggested_fix"]


async def test_the_same_key_sent_twice_at_once_is_one_tool() -> None:
    here = kit(SlowStore())

    ends = await asyncio.gather(
        *(here.registry.register(entry(), LOCAL, key="k", fingerprint="one") for _ in range(5))
    )

    assert len({each.definition.version for each in ends}) == 1


async def test_what_a_maker_refuses_is_not_kept() -> None:
    here = kit()
    here.http.refusal = Unavailable("TARGET_UNAVAILABLE", "it does not answer")
    target = Http("GET", "https://x.example")

    await refused(
        here.registry.register(entry(target=target), LOCAL), Unavailable, "TARGET_UNAVAILABLE"
    )
    await refused(here.registry.get(LOCAL, "weather", ""), NotFound, "TOOL_NOT_FOUND")


async def test_a_tool_that_says_nothing_of_its_input_takes_any_object() -> None:
    made = await kit().registry.register(entry(input_schema=ANY), LOCAL)

    assert made.definition.input_schema.document == {"type": "object"}


@pytest.mark.parametrize(
    "document", [{"type": "string"}, {"properties": {"a": TEXT}}, {"type": ["object", "null"]}]
)
async def test_input_is_an_object(document: dict[str, object]) -> None:
    made = entry(input_schema=Schema(document, field="input"))

    error = await refused(kit().registry.register(made, LOCAL), InvalidArgument, "SCHEMA_INVALID")
    assert error.metadata["field"] == "tool.input_schema"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"examples": (Example("", {"place": 3}, None),)}, "tool.examples[0].input.place"),
        ({"examples": (Example("", {"place": "x"}, 3),)}, "tool.examples[0].output"),
        ({"default": Default(3)}, "tool.default"),
    ],
)
async def test_examples_and_defaults_keep_to_the_schemas(
    changes: dict[str, object], field: str
) -> None:
    made = entry(output_schema=Schema({"type": "string"}, field="output"), **changes)

    error = await refused(kit().registry.register(made, LOCAL), InvalidArgument, "INVALID_REQUEST")
    assert error.metadata["field"] == field


async def test_a_tenant_has_no_more_tools_than_it_may() -> None:
    here = kit(tools=2)
    for name in ("a", "b"):
        await here.registry.register(entry(name=name), LOCAL)

    await refused(
        here.registry.register(entry(name="c"), LOCAL), ResourceExhausted, "TOO_MANY_TOOLS"
    )
    await here.registry.register(entry(name="c"), OTHER)
    await here.registry.delete(LOCAL, "a")
    await here.registry.register(entry(name="c"), LOCAL)


async def test_tools_that_others_registered_count_after_a_while() -> None:
    events = MemoryEventStore()
    here, there = kit(events, tools=2), kit(events, tools=2)
    await here.registry.register(entry(name="a"), LOCAL)
    await there.registry.register(entry(name="b"), LOCAL)
    here.later(10)

    await refused(
        here.registry.register(entry(name="c"), LOCAL), ResourceExhausted, "TOO_MANY_TOOLS"
    )


async def test_a_tool_has_no_more_versions_than_it_may() -> None:
    here = kit(versions=2)
    await here.registry.register(entry(), LOCAL)
    await updated(here, "title", title="a")

    await refused(updated(here, "title", title="b"), ResourceExhausted, "TOO_MANY_TOOL_VERSIONS")


@pytest.mark.parametrize(
    ("newest", "said", "expected"),
    [
        ("1.2.3", "", "1.3.0"),
        ("0.2.3", "", "0.2.4"),
        ("1.2.3", "1.2.4", "1.2.4"),
        ("1.0.0", "7.0.0", "7.0.0"),
    ],
)
async def test_a_change_that_breaks_nobody_is_the_next_version(
    newest: str, said: str, expected: str
) -> None:
    here = await with_tool(version=newest)

    changed = await updated(here, "input_schema", said, input_schema=schema(place=TEXT, unit=TEXT))

    assert changed.definition.version == expected
    newest = (await here.registry.get(LOCAL, "weather", "")).entry
    assert is_same(newest, changed)


@pytest.mark.parametrize(
    ("newest", "said", "fix"),
    [
        ("1.2.3", "", "2.0.0"),
        ("1.2.3", "1.9.0", "2.0.0"),
        ("1.2.3", "1.9.0-beta", "2.0.0"),
        ("0.2.3", "0.2.4", "0.3.0"),
    ],
)
async def test_a_change_that_breaks_callers_needs_a_version_that_says_so(
    newest: str, said: str, fix: str
) -> None:
    here = await with_tool(version=newest)

    error = await refused(
        updated(here, "input_schema", said, input_schema=NARROWER),
        FailedPrecondition,
        "TOOL_CHANGE_BREAKING",
    )

    assert error.metadata["field"] == "tool.input_schema"
    assert error.metadata["schema_path"] == "/properties/place/enum"
    assert f"send version {fix}," in error.metadata["suggested_fix"]
    changed = await updated(here, "input_schema", fix, input_schema=NARROWER)
    assert changed.definition.version == fix


async def test_output_must_not_promise_less() -> None:
    here = await with_tool(output_schema=Schema({"type": "integer"}, field="output"))

    error = await refused(
        updated(here, "output_schema", output_schema=Schema({"type": "number"}, field="output")),
        FailedPrecondition,
        "TOOL_CHANGE_BREAKING",
    )
    assert error.metadata["field"] == "tool.output_schema"


async def test_a_release_is_held_against_the_release_before_and_no_pre_release() -> None:
    here = await with_tool()
    await updated(here, "input_schema", "2.0.0-a", input_schema=NARROWER)
    await updated(here, "input_schema", "2.0.0-b", input_schema=schema(city=TEXT))

    assert (await updated(here, "input_schema", "2.0.0", input_schema=WIDER)).create_time == NOW


async def test_after_a_pre_release_the_version_has_to_be_said() -> None:
    here = await with_tool(version="1.0.0-beta")

    error = await refused(updated(here, "title", title="x"), InvalidArgument, "INVALID_REQUEST")
    assert error.metadata["field"] == "tool.version"


@pytest.mark.parametrize("version", ["1.0.0", "0.9.0", "1.0.0+build"])
async def test_versions_do_not_go_backwards(version: str) -> None:
    await refused(
        updated(await with_tool(), "title", version, title="x"),
        FailedPrecondition,
        "TOOL_VERSION_NOT_NEWER",
    )


@pytest.mark.parametrize(
    ("mask", "version"), [("", ""), ("title", ""), ("title input_schema", "1.0.0")]
)
async def test_an_update_that_changes_nothing_makes_no_version(mask: str, version: str) -> None:
    here = await with_tool()

    assert (await updated(here, mask, version)).definition.version == "1.0.0"
    assert len((await here.store.line("default", "weather")).releases) == 1


async def test_one_and_true_are_two_defaults() -> None:
    here = await with_tool(default=Default(1))

    assert (await updated(here, "default", default=Default(True))).definition.version == "1.1.0"


@pytest.mark.parametrize(
    ("mask", "field"),
    [
        ("owner", "update_mask[0]"),
        ("title state", "update_mask[1]"),
        ("title nothing", "update_mask[1]"),
        ("http", "tool.http"),
    ],
)
async def test_a_mask_names_what_can_be_replaced(mask: str, field: str) -> None:
    error = await refused(updated(await with_tool(), mask), InvalidArgument, "INVALID_REQUEST")

    assert error.metadata["field"] == field


async def test_a_mask_that_names_what_is_output_only_is_told_what_to_call() -> None:
    error = await refused(updated(await with_tool(), "state"), InvalidArgument, "INVALID_REQUEST")

    assert "is state, which is output only" in error.message
    assert error.metadata["suggested_fix"] == "call :deprecate or :undeprecate"


async def test_where_a_tool_runs_can_be_replaced() -> None:
    target = Http("GET", "https://x.example")

    changed = await updated(await with_tool(), "http", target=target)

    assert changed.target == target


async def test_another_name_in_an_update_is_refused() -> None:
    here = await with_tool()

    error = await refused(
        here.registry.update(LOCAL, "weather", entry(name="other"), ["title"], ""),
        InvalidArgument,
        "INVALID_REQUEST",
    )
    assert error.metadata["field"] == "tool.name"


async def test_of_two_that_change_a_tool_at_once_one_does() -> None:
    here = kit(SlowStore())
    await here.registry.register(entry(), LOCAL)

    ends = await asyncio.gather(
        updated(here, "title", title="a"), updated(here, "title", title="b"), return_exceptions=True
    )

    lost = [each for each in ends if isinstance(each, Aborted)]
    assert [each.reason for each in lost] == ["TOOL_VERSION_CONFLICT"]


async def test_one_version_is_deprecated_or_all_that_there_are() -> None:
    here = await with_tool()
    await updated(here, "title", title="a")

    one = await here.registry.deprecate(LOCAL, "weather", "1.0.0", "old")
    everything = await here.registry.deprecate(LOCAL, "weather", "", "all")

    assert (one.definition.version, one.deprecation) == ("1.0.0", "old")
    assert (everything.definition.version, everything.deprecation) == ("1.1.0", "all")
    newer = await updated(here, "title", title="b")
    assert (newer.definition.version, newer.is_deprecated) == ("1.2.0", False)


async def test_deprecating_again_changes_nothing() -> None:
    here = await with_tool()
    for _ in range(3):
        await here.registry.deprecate(LOCAL, "weather", "1.0.0", "")

    assert (await here.store.line("default", "weather")).sequence == 2


async def test_the_mark_is_taken_off_one_version_or_off_all() -> None:
    here = await with_tool()
    await updated(here, "title", title="a")
    await here.registry.deprecate(LOCAL, "weather", "", "all")

    one = await here.registry.undeprecate(LOCAL, "weather", "1.0.0")
    picked = await here.registry.get(LOCAL, "weather", "")
    newest = await here.registry.undeprecate(LOCAL, "weather", "")

    assert (one.definition.version, one.is_deprecated, one.deprecation) == ("1.0.0", False, "")
    assert picked.entry.definition.version == "1.0.0"
    assert (newest.definition.version, newest.is_deprecated) == ("1.1.0", False)


async def test_taking_the_mark_off_again_changes_nothing() -> None:
    here = await with_tool()
    await here.registry.deprecate(LOCAL, "weather", "", "")
    for version in ("", "1.0.0", ""):
        await here.registry.undeprecate(LOCAL, "weather", version)

    assert (await here.store.line("default", "weather")).sequence == 3


@pytest.mark.parametrize(
    ("version", "kind", "reason"),
    [
        ("^1", InvalidArgument, "INVALID_REQUEST"),
        ("3.0.0", NotFound, "TOOL_VERSION_NOT_FOUND"),
    ],
)
async def test_a_version_to_be_deprecated_is_named_exactly(
    version: str, kind: type[ServiceError], reason: str
) -> None:
    here = await with_tool()

    await refused(here.registry.deprecate(LOCAL, "weather", version, ""), kind, reason)


CHANGES: dict[str, Callable[[Kit, str], object]] = {
    "update": lambda of, name: of.registry.update(LOCAL, name, entry(name=name), ["title"], ""),
    "deprecate": lambda of, name: of.registry.deprecate(LOCAL, name, "", ""),
    "undeprecate": lambda of, name: of.registry.undeprecate(LOCAL, name, ""),
    "delete": lambda of, name: of.registry.delete(LOCAL, name),
}


@pytest.mark.parametrize("how", CHANGES)
async def test_what_is_built_in_or_not_there_is_not_changed(how: str) -> None:
    change, here = CHANGES[how], kit()

    await refused(change(here, "calculator"), FailedPrecondition, "TOOL_IS_BUILTIN")
    await refused(change(here, "nothing"), NotFound, "TOOL_NOT_FOUND")
    await refused(change(here, "no name"), InvalidArgument, "INVALID_REQUEST")


async def test_what_another_tenant_has_is_not_changed() -> None:
    here = await with_tool()

    await refused(here.registry.delete(OTHER, "weather"), NotFound, "TOOL_NOT_FOUND")


async def test_lists_have_built_in_tools_among_others() -> None:
    here = kit()
    for name in ("a", "calculator2", "z"):
        await here.registry.register(entry(name=name), LOCAL)

    first = await here.registry.page(LOCAL, None, after="", limit=2)
    rest = await here.registry.page(LOCAL, None, after=first[-1][0], limit=9)

    assert [name for name, _ in (*first, *rest)] == ["a", "calculator", "calculator2", "z"]


async def test_a_built_in_tool_has_one_version() -> None:
    page = await kit().registry.versions(LOCAL, "calculator", after="", limit=9)

    assert [name for name, _ in page] == ["calculator"]
    assert not await kit().registry.versions(LOCAL, "calculator", after="calculator", limit=9)
