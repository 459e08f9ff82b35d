"""What holds for every store of tools."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from runplane.tool_registry.v1 import tool_registry_pb2 as pb

from services.chassis import filtering
from services.chassis.errors import Aborted, AlreadyExists, NotFound
from services.chassis.eventlog.port import EventStore, Key
from services.chassis.versions import Wanted
from services.tool_registry.adapters.toolcodec import decode
from services.tool_registry.adapters.toolstore import EventStoreTools
from services.tool_registry.domain.line import (
    Deleted,
    Deprecated,
    Event,
    Line,
    Registered,
    Release,
    Updated,
)
from services.tool_registry.domain.targets import Grpc, Http, HttpAuth, Mcp
from services.tool_registry.domain.tool import Default, Example
from services.tool_registry.mapping import tools as mapping
from tests.unit.tool_registry.fakes import entry

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ALL = Wanted()


async def grown(store: EventStoreTools, *events: Event, name: str = "weather") -> Line:
    """A line of `default` after these events."""
    line = await store.line("default", name)
    for event in events:
        line = await store.append("default", line, event)
    return line


async def listed(store: EventStoreTools, where: str = "", tenant: str = "default") -> list[str]:
    condition = filtering.condition(where, mapping.FILTERED)
    page = await store.page(tenant, condition, after="", limit=100)
    tools = [pb.Tool.FromString(body) for _, body in page]
    assert [name for name, _ in page] == [tool.name for tool in tools]
    return [f"{tool.name} {tool.version}" for tool in tools]


async def test_what_was_never_registered_has_no_versions(store: EventStoreTools) -> None:
    assert await store.line("default", "weather") == Line("weather")
    assert await listed(store) == []


async def test_a_tool_is_read_as_it_was_registered(store: EventStoreTools) -> None:
    whole = entry(
        title="Weather",
        tags=("weather", "x.y"),
        examples=(Example("How is it?", {"place": "Oslo"}, {"degrees": 3}),),
        timeout=timedelta(milliseconds=1500),
        is_idempotent=True,
        requires_approval=True,
        is_long_running=True,
        reports_progress=True,
        max_concurrency=3,
        default=Default(None),
        target=Http(
            "POST",
            "https://x.example/{place}",
            ("q",),
            {"A": "b"},
            {"C": "d"},
            "body",
            "/x",
            HttpAuth("header", "key", "X-Key"),
        ),
        create_time=NOW,
        source="openapi:x",
    )
    line = await grown(store, Registered(whole))

    read = await store.entry("default", "weather", line.releases[0])

    assert mapping.tool(read) == mapping.tool(whole)
    assert (read.target, read.create_time, read.source) == (whole.target, NOW, "openapi:x")


@pytest.mark.parametrize(
    "target",
    [
        Grpc("127.0.0.1:1", "a.B/C", tls=True, descriptor_set=b"\x00\xff", metadata={"k": "v"}),
        Mcp("weather", "get weather"),
    ],
)
async def test_every_target_is_kept(store: EventStoreTools, target: Grpc | Mcp) -> None:
    line = await grown(store, Registered(entry(target=target)))

    assert (await store.entry("default", "weather", line.releases[0])).target == target


async def test_a_line_is_read_as_it_was_written(store: EventStoreTools) -> None:
    line = await grown(
        store,
        Registered(entry(source="mcp:x")),
        Updated(entry(version="1.1.0", source="mcp:x")),
        Deprecated(NOW, "1.0.0", "use 1.1"),
        Updated(entry(version="2.0.0", source="mcp:x")),
    )

    assert await store.line("default", "weather") == line
    assert line.releases == (
        Release("1.0.0", 1, "use 1.1"),
        Release("1.1.0", 2),
        Release("2.0.0", 4),
    )


async def test_the_events_add_up_to_the_line(store: EventStoreTools, events: EventStore) -> None:
    line = await grown(
        store,
        Registered(entry()),
        Updated(entry(version="1.1.0")),
        Deprecated(NOW, "", ""),
        Deleted(NOW),
        Registered(entry(version="1.2.0")),
    )

    replayed = Line("weather")
    for stored in await events.read("default", "tool/weather"):
        replayed = replayed.evolved(decode(stored))
    assert replayed == line == await store.line("default", "weather")


async def test_lists_show_the_version_that_who_asks_for_none_gets(store: EventStoreTools) -> None:
    first, second = Registered(entry()), Updated(entry(version="2.0.0"))
    shown = []
    for event in (
        first,
        second,
        Deprecated(NOW, "2.0.0", "broken"),
        Updated(entry(version="3.0.0-a")),
    ):
        line = await grown(store, event)
        shown += await listed(store)
        picked = line.picked(ALL)
        assert picked is not None
        assert shown[-1] == f"weather {picked.version}"

    assert shown == ["weather 1.0.0", "weather 2.0.0", "weather 1.0.0", "weather 1.0.0"]


async def test_a_deleted_tool_is_nowhere_and_can_come_back(store: EventStoreTools) -> None:
    gone = await grown(store, Registered(entry()), Updated(entry(version="1.1.0")), Deleted(NOW))

    assert gone.releases == ()
    assert await listed(store) == []
    assert await store.names("default", limit=10) == []
    assert await store.versions("default", gone, after="", limit=10) == ()

    back = await grown(store, Registered(entry(version="1.2.0")))

    assert await listed(store) == ["weather 1.2.0"]
    versions = await store.versions("default", back, after="", limit=10)
    assert [pb.Tool.FromString(body).version for _, body in versions] == ["1.2.0"]


async def test_versions_are_the_newest_first_in_pages_and_marked(store: EventStoreTools) -> None:
    line = await grown(store, Registered(entry()))
    line = await grown(store, *(Updated(entry(version=f"1.{n}.0")) for n in range(1, 12)))
    line = await grown(store, Deprecated(NOW, "1.9.0", "no"))
    await grown(store, Registered(entry(name="weather2")), name="weather2")

    first = await store.versions("default", line, after="", limit=7)
    rest = await store.versions("default", line, after=first[-1][0], limit=7)

    tools = [pb.Tool.FromString(body) for _, body in (*first, *rest)]
    assert [tool.version for tool in tools] == [f"1.{n}.0" for n in range(11, -1, -1)]
    assert [tool.version for tool in tools if tool.deprecation == "no"] == ["1.9.0"]
    assert [tool.version for tool in tools if tool.state == pb.TOOL_STATE_DEPRECATED] == ["1.9.0"]


async def test_a_version_that_comes_while_pages_are_read_moves_none(store: EventStoreTools) -> None:
    line = await grown(store, Registered(entry()), Updated(entry(version="1.1.0")))
    await grown(store, Updated(entry(version="1.2.0")))

    page = await store.versions("default", line, after="", limit=2)

    assert [pb.Tool.FromString(body).version for _, body in page] == ["1.1.0", "1.0.0"]


async def test_lists_page_by_name(store: EventStoreTools) -> None:
    for name in ("b", "a", "B", "_", "a-b"):
        await grown(store, Registered(entry(name=name)), name=name)

    pages, after = [], ""
    for _ in range(3):
        page = await store.page("default", None, after=after, limit=2)
        pages += [name for name, _ in page]
        after = pages[-1]

    assert pages == sorted(["b", "a", "B", "_", "a-b"])


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("kind = http", ["h"]),
        ("kind != http", ["c", "m"]),
        ("tags.weather = true", ["h", "m"]),
        ("NOT tags.weather = true", ["c"]),
        ("server = files", ["m"]),
        ("state = deprecated", ["c"]),
        ('owner = "you"', ["c"]),
        ("name >= h AND kind = mcp", ["m"]),
        ("tags.x.y = true", ["h"]),
    ],
)
async def test_lists_are_filtered(store: EventStoreTools, where: str, names: list[str]) -> None:
    http, mcp = Http("GET", "https://x.example"), Mcp("files", "read")
    tools = (
        entry(name="c", owner="you"),
        entry(name="h", target=http, tags=("weather", "x.y")),
        entry(name="m", target=mcp, tags=("weather",)),
    )
    for each in tools:
        await grown(store, Registered(each), name=each.definition.name)
    await grown(store, Deprecated(NOW, "", ""), name="c")

    assert [each.split()[0] for each in await listed(store, where)] == names


async def test_lists_leave_out_what_only_calls_need(store: EventStoreTools) -> None:
    target = Grpc("127.0.0.1:1", "a.B/C", descriptor_set=b"x" * 100_000)
    await grown(store, Registered(entry(target=target)))

    page = await store.page("default", None, after="", limit=1)

    assert len(page[0][1]) < 1_000


async def test_tenants_do_not_see_each_other(store: EventStoreTools) -> None:
    await grown(store, Registered(entry()))
    other = await store.append("other", Line("weather"), Registered(entry(version="5.0.0")))

    assert (await store.line("default", "weather")).releases == (Release("1.0.0", 1),)
    assert other.releases == (Release("5.0.0", 1),)
    assert await listed(store, tenant="other") == ["weather 5.0.0"]
    assert await listed(store, tenant="third") == []
    assert await store.names("third", limit=10) == []


async def test_of_two_changes_at_once_one_is_made(store: EventStoreTools) -> None:
    line = await grown(store, Registered(entry()))
    changes = (Updated(entry(version="1.1.0")), Deleted(NOW))

    ends = await asyncio.gather(
        *(store.append("default", line, change) for change in changes), return_exceptions=True
    )

    assert [type(end) for end in ends].count(Aborted) == 1
    assert (await store.line("default", "weather")).sequence == 2


async def test_a_key_stands_for_a_tool(store: EventStoreTools) -> None:
    key = Key("tool", "5/local/k", "print", timedelta(hours=24))
    await store.append("default", Line("weather"), Registered(entry()), key=key)

    kept = await store.kept("default", key)

    assert kept is not None
    assert (kept.stream_id, kept.fingerprint) == ("weather", "print")
    assert await store.kept("other", key) is None
    with pytest.raises(AlreadyExists):
        await store.append("default", Line("other"), Registered(entry(name="other")), key=key)
    assert await listed(store) == ["weather 1.0.0"]


async def test_names_are_those_of_a_source(store: EventStoreTools) -> None:
    for name, source in (("a", "mcp:x"), ("b", ""), ("c", "mcp:x"), ("d", "openapi:x")):
        await grown(store, Registered(entry(name=name, source=source)), name=name)
    await grown(store, Deleted(NOW), name="c")

    assert await store.names("default", limit=10) == ["a", "b", "d"]
    assert await store.names("default", limit=2) == ["a", "b"]
    assert await store.names("default", limit=10, source="mcp:x") == ["a"]


async def test_a_version_that_is_not_there_is_told(store: EventStoreTools) -> None:
    with pytest.raises(NotFound) as caught:
        await store.entry("default", "weather", Release("9.0.0", 9))

    assert caught.value.reason == "TOOL_VERSION_NOT_FOUND"


async def test_what_brought_tools_is_known_beside_what_is_known_already(
    store: EventStoreTools,
) -> None:
    for name, source in (("a", "mcp:x"), ("b", "mcp:x"), ("c", "mcp:y"), ("d", "openapi:z")):
        await grown(store, Registered(entry(name=name, source=source)), name=name)
    await grown(store, Registered(entry(name="e")), name="e")
    gone = await grown(store, Registered(entry(name="f", source="mcp:gone")), name="f")
    await store.append("default", gone, Deleted(NOW))

    assert await store.sources("default", besides=["mcp:y"], limit=9) == ["mcp:x", "openapi:z"]
    assert await store.sources("other", besides=[], limit=9) == []
