"""Which tool a caller gets, and how often the store is asked for it."""

import asyncio

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.chassis.eventlog.memory import MemoryEventStore
from services.tool_registry.domain.targets import Client, Http
from services.tool_registry.ports import Invocation
from tests.unit.tool_registry.fakes import PLACE, entry
from tests.unit.tool_registry.kit import LOCAL, Kit, kit

HTTP = Http("GET", "https://x.example")


async def registered(of: Kit, **changes: object) -> None:
    await of.registry.register(entry(**({"target": HTTP} | changes)), LOCAL)


async def found(
    of: Kit, version: str = "", name: str = "weather", tenant: str = "default"
) -> object:
    return (await (await of.shelf.find(tenant, name, version)).call(Invocation({}))).value


async def test_a_built_in_tool_never_asks_the_store() -> None:
    here = kit()

    for version in ("", "1.0.0", "^1"):
        assert (await here.shelf.find("default", "calculator", version)).entry.definition.name

    assert here.store.reads == 0


async def test_a_built_in_tool_has_its_version_and_no_other() -> None:
    with pytest.raises(NotFound) as caught:
        await kit().shelf.find("default", "calculator", "^2")

    assert caught.value.reason == "TOOL_VERSION_NOT_FOUND"


async def test_within_the_ttl_the_store_is_asked_once() -> None:
    events = MemoryEventStore()
    await registered(kit(events))
    here = kit(events)

    for version in ("", "^1", "1.0.0", "*") * 5:
        assert await found(here, version) == "1.0.0"

    assert here.store.reads == 1
    assert len(here.http.made_of) == 1


async def test_callers_who_come_at_once_ask_the_store_once() -> None:
    events = MemoryEventStore()
    await registered(kit(events))
    here = kit(events)

    answers = await asyncio.gather(*(found(here) for _ in range(50)))

    assert set(answers) == {"1.0.0"}
    assert (here.store.reads, len(here.http.made_of)) == (1, 1)


async def test_a_change_is_seen_at_once_here_and_after_the_ttl_elsewhere() -> None:
    events = MemoryEventStore()
    here, there = kit(events), kit(events)
    await registered(here)
    assert [await found(here), await found(there)] == ["1.0.0", "1.0.0"]

    await here.registry.update(LOCAL, "weather", entry(title="x"), ["title"], "1.5.0")

    assert [await found(here), await found(there)] == ["1.5.0", "1.0.0"]
    there.later(2)
    assert await found(there) == "1.5.0"


async def test_a_deleted_tool_is_gone_at_once_here_and_after_the_ttl_elsewhere() -> None:
    events = MemoryEventStore()
    here, there = kit(events), kit(events)
    await registered(here)
    await found(there)
    await here.registry.delete(LOCAL, "weather")

    with pytest.raises(NotFound):
        await found(here)
    assert await found(there) == "1.0.0"
    there.later(2)
    with pytest.raises(NotFound):
        await found(there)


async def test_what_did_not_change_is_not_made_again_after_the_ttl() -> None:
    here = kit()
    await registered(here)
    first = await here.shelf.find("default", "weather")
    here.later(2)

    assert await here.shelf.find("default", "weather") is first


async def test_a_deprecation_is_seen_by_whoever_calls() -> None:
    here = kit()
    await registered(here)
    await found(here)
    await here.registry.deprecate(LOCAL, "weather", "", "use another")

    entry_now = (await here.shelf.find("default", "weather")).entry

    assert (entry_now.is_deprecated, entry_now.deprecation) == (True, "use another")


async def test_tools_of_other_tenants_are_not_there() -> None:
    here = kit()
    await registered(here)

    with pytest.raises(NotFound):
        await found(here, tenant="other")


async def test_a_misspelt_tool_is_recognised() -> None:
    here = kit()
    await registered(here)

    with pytest.raises(NotFound) as caught:
        await found(here, name="wether")

    assert caught.value.metadata["suggested_fix"] == "use weather"


async def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    here = kit()
    await registered(here)

    with pytest.raises(NotFound) as caught:
        await found(here, "^2")

    assert caught.value.reason == "TOOL_VERSION_NOT_FOUND"
    assert "1.0.0" in caught.value.metadata["suggested_fix"]


@pytest.mark.parametrize(("name", "version"), [("a b", ""), ("weather", "newest")])
async def test_what_is_no_name_and_no_range_is_refused(name: str, version: str) -> None:
    with pytest.raises(InvalidArgument):
        await found(kit(), version, name)


async def test_names_that_nobody_has_push_nothing_out() -> None:
    here = kit(size=2)
    await registered(here)
    await found(here)
    reads = here.store.reads
    for number in range(10):
        with pytest.raises(NotFound):
            await found(here, name=f"nothing{number}")

    await found(here)

    assert here.store.reads == reads + 10


async def test_no_more_tools_are_kept_than_may_be() -> None:
    here = kit(size=2)
    for name in ("a", "b", "c"):
        await registered(here, name=name)
        await found(here, name=name)
    made = len(here.http.made_of)

    await found(here, name="c")
    await found(here, name="a")

    assert len(here.http.made_of) == made + 1


async def test_a_tool_that_runs_at_the_client_is_found_and_not_called() -> None:
    here = kit()
    await here.registry.register(entry(), LOCAL)

    with pytest.raises(FailedPrecondition) as caught:
        await found(here)

    assert caught.value.reason == "TOOL_RUNS_AT_CLIENT"


async def test_lists_say_what_is_unavailable_without_reading_schemas() -> None:
    here = kit()
    await registered(here, input_schema=PLACE)
    here.http.trouble = "its server is gone"

    assert here.registry.unavailable(LOCAL, HTTP) == "its server is gone"
    assert here.registry.unavailable(LOCAL, Client()) == ""
