"""Tools that a source brings in one go."""

import asyncio
from dataclasses import replace

import pytest

from services.chassis.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.schema import Schema
from services.tool_registry.domain.targets import Mcp
from services.tool_registry.domain.tool import Entry
from tests.unit.tool_registry.fakes import entry
from tests.unit.tool_registry.kit import LOCAL, kit

SOURCE = "mcp:city"


def tool(name: str, *, optional: str = "", **changes: object) -> Entry:
    """A tool of an MCP server, with optional input fields."""
    document = {
        "type": "object",
        "properties": {each: {"type": "string"} for each in f"place {optional}".split()},
        "required": ["place"],
        "additionalProperties": False,
    }
    schema = Schema(document, field="input")
    found = entry(name=name, input_schema=schema, target=Mcp("city", name), **changes)
    return replace(found, owner="", create_time=None)


B = tool("city__b").definition


async def test_what_is_brought_is_registered_and_then_unchanged() -> None:
    here = kit()
    wanted = [tool("city__a", version="7.7.7"), tool("city__b")]

    first = await here.registry.bring(LOCAL, SOURCE, wanted)
    again = await here.registry.bring(LOCAL, SOURCE, wanted)

    assert first.outcomes == {"city__a": "registered", "city__b": "registered"}
    assert again.outcomes == {"city__a": "unchanged", "city__b": "unchanged"}
    assert again.versions == {"city__a": "1.0.0", "city__b": "1.0.0"}
    kept = (await here.registry.get(LOCAL, "city__a", "")).entry
    assert (kept.source, kept.owner) == (SOURCE, "local")


@pytest.mark.parametrize(
    ("changed", "version"),
    [
        (tool("city__a", description="Better words."), "1.0.1"),
        (tool("city__a", optional="unit"), "1.1.0"),
        (replace(tool("city__a"), target=Mcp("city", "renamed")), "1.0.1"),
        (
            entry(
                name="city__a",
                input_schema=Schema({"type": "object", "maxProperties": 0}, field="input"),
                target=Mcp("city", "a"),
            ),
            "2.0.0",
        ),
    ],
)
async def test_the_version_says_what_changed(changed: Entry, version: str) -> None:
    here = kit()
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])

    brought = await here.registry.bring(LOCAL, SOURCE, [changed])

    assert brought.outcomes == {"city__a": "updated"}
    assert brought.versions == {"city__a": version}


async def test_what_the_source_no_longer_has_is_removed_and_comes_back_higher() -> None:
    here = kit()
    both = [tool("city__a"), tool("city__b")]
    await here.registry.bring(LOCAL, SOURCE, both)

    less = await here.registry.bring(LOCAL, SOURCE, both[:1])
    more = await here.registry.bring(LOCAL, SOURCE, both)

    assert less.outcomes == {"city__a": "unchanged", "city__b": "removed"}
    assert more.outcomes == {"city__a": "unchanged", "city__b": "registered"}
    assert more.versions["city__b"] == "1.0.1"


async def test_taking_away_leaves_others_alone() -> None:
    here = kit()
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])
    await here.registry.bring(LOCAL, "mcp:town", [tool("town__a")])
    await here.registry.register(entry(name="own"), LOCAL)

    await here.registry.take_away(LOCAL, SOURCE)

    assert await here.store.names("default", limit=9) == ["own", "town__a"]


async def test_what_its_source_has_deprecated_is_so_in_all_versions_until_it_is_not() -> None:
    here = kit()
    old = replace(tool("city__a"), is_deprecated=True, deprecation="use b")
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])

    marked = await here.registry.bring(LOCAL, SOURCE, [old, replace(old, definition=B)])
    again = await here.registry.bring(LOCAL, SOURCE, [old, replace(old, definition=B)])
    shown = [(await here.registry.get(LOCAL, f"city__{n}", "")).entry for n in "ab"]
    back = await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])

    assert marked.outcomes == {"city__a": "updated", "city__b": "registered"}
    assert marked.versions == {"city__a": "1.0.0", "city__b": "1.0.0"}
    assert again.outcomes == {"city__a": "unchanged", "city__b": "unchanged"}
    assert [(each.is_deprecated, each.deprecation) for each in shown] == [
        (True, "mcp:city: use b"),
        (True, "mcp:city: use b"),
    ]
    assert back.versions["city__a"] == "1.0.1"
    assert not (await here.registry.get(LOCAL, "city__a", "")).entry.is_deprecated


async def test_what_somebody_else_has_deprecated_stays_so() -> None:
    here = kit()
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])
    await here.registry.deprecate(LOCAL, "city__a", "", "not any more")

    brought = await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])

    assert brought.outcomes == {"city__a": "unchanged"}
    assert (await here.registry.get(LOCAL, "city__a", "")).entry.deprecation == "not any more"


async def test_what_cannot_be_brought_is_told_and_the_rest_is_brought() -> None:
    here = kit()
    await here.registry.register(entry(name="city__own"), LOCAL)
    await here.registry.bring(LOCAL, "mcp:town", [tool("city__town")])
    wanted = [
        tool("city__own"),
        tool("city__town"),
        tool("calculator"),
        tool("agent__x"),
        tool("no name"),
        tool("city__long", description="x" * 100_000),
        tool("city__fine"),
    ]

    brought = await here.registry.bring(LOCAL, SOURCE, wanted)

    assert brought.outcomes == {"city__fine": "registered"}
    assert set(brought.skipped) == {each.definition.name for each in wanted[:-1]}
    assert all(brought.skipped.values())
    assert (await here.registry.get(LOCAL, "city__own", "")).entry.source == ""


async def test_what_its_maker_refuses_is_skipped_and_an_older_version_stays() -> None:
    here = kit()
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])
    here.http.refusal = InvalidArgument("TARGET_REFUSED", "not there")

    brought = await here.registry.bring(LOCAL, SOURCE, [tool("city__a", title="x")])

    assert brought.skipped == {"city__a": "not there"}
    assert (await here.registry.get(LOCAL, "city__a", "")).entry.definition.version == "1.0.0"


async def test_a_server_that_is_gone_is_no_reason_to_remove_its_tools() -> None:
    here = kit()
    here.http.refusal = Unavailable("TARGET_UNAVAILABLE", "gone")

    with pytest.raises(Unavailable):
        await here.registry.bring(LOCAL, SOURCE, [tool("city__a"), tool("city__b")])


async def test_too_many_tools_are_refused_with_nothing_changed() -> None:
    here = kit(tools=2)
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])

    with pytest.raises(ResourceExhausted) as caught:
        await here.registry.bring(LOCAL, SOURCE, [tool(f"city__{n}") for n in "abc"])

    assert caught.value.reason == "TOO_MANY_TOOLS"
    assert await here.store.names("default", limit=9) == ["city__a"]
    exchanged = await here.registry.bring(LOCAL, SOURCE, [tool(f"city__{n}") for n in "bc"])
    assert set(exchanged.outcomes.values()) == {"registered", "removed"}


async def test_two_who_bring_the_same_at_once_make_one_version() -> None:
    events = MemoryEventStore()
    here, there = kit(events), kit(events)
    wanted = [tool(f"city__{n}") for n in range(40)]

    ends = await asyncio.gather(
        *(each.registry.bring(LOCAL, SOURCE, wanted) for each in (here, there))
    )

    assert [each.skipped for each in ends] == [{}, {}]
    assert {version for each in ends for version in each.versions.values()} == {"1.0.0"}


async def test_imported_tools_are_changed_and_deleted_by_their_source_only() -> None:
    here = kit()
    await here.registry.bring(LOCAL, SOURCE, [tool("city__a")])

    for change in (
        here.registry.update(LOCAL, "city__a", tool("city__a", title="x"), ["title"], ""),
        here.registry.delete(LOCAL, "city__a"),
    ):
        with pytest.raises(FailedPrecondition) as caught:
            await change
        assert caught.value.reason == "TOOL_IS_IMPORTED"
    marked = await here.registry.deprecate(LOCAL, "city__a", "", "not any more")
    assert marked.is_deprecated


async def test_what_no_server_brings_back_is_deleted_and_comes_with_the_next_import() -> None:
    here = kit()
    for source in ("openapi:city", "mcp:gone"):
        await here.registry.bring(LOCAL, source, [tool("city__a")])
        with pytest.raises(FailedPrecondition):
            await here.registry.update(LOCAL, "city__a", tool("city__a", title="x"), ["title"], "")

        await here.registry.delete(LOCAL, "city__a")

        assert await here.store.names("default", limit=9) == []
        again = await here.registry.bring(LOCAL, source, [tool("city__a")])
        assert again.outcomes == {"city__a": "registered"}
        await here.registry.take_away(LOCAL, source)


async def test_of_two_imports_at_once_the_later_one_is_what_there_is() -> None:
    here = kit()
    first = [tool(f"city__{n}") for n in range(20)]
    second = [tool(f"city__{n}") for n in range(10, 30)]

    ends = await asyncio.gather(
        *(here.registry.bring(LOCAL, SOURCE, wanted) for wanted in (first, second))
    )

    names = await here.store.names("default", limit=99)
    assert sorted(names) == sorted(each.definition.name for each in second)
    assert list(ends[1].outcomes.values()).count("removed") == 10
    assert not here.registry._turns


async def test_what_another_process_brought_meanwhile_is_told() -> None:
    events = MemoryEventStore()
    here, there = kit(events), kit(events)

    ends = await asyncio.gather(
        here.registry.bring(LOCAL, SOURCE, [tool(f"city__a{n}") for n in range(20)]),
        there.registry.bring(LOCAL, SOURCE, [tool(f"city__b{n}") for n in range(20)]),
    )

    assert any(each.others for each in ends)
