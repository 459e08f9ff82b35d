"""How often the services are asked for what they have."""

import asyncio
import json
from datetime import timedelta
from typing import Any, cast

import pytest

from gateway.mcp import pages
from gateway.mcp.agents import Agents
from gateway.mcp.asking import Asking
from gateway.mcp.catalog import Catalog
from gateway.mcp.cursors import Cursors
from gateway.mcp.rpc import Caller, Services
from gateway.mcp.tasks import Tasks
from gateway.mcp.tools import LIST, PAGE_BYTES, Calls, Tools
from gateway.mcp.watched import Digests, PromptsListChanged
from gateway.settings import McpSettings
from gateway.traffic import Traffic
from services.chassis.context import current, local_context

Wire = dict[str, Any]


class Who:
    """A caller of the default tenant."""

    tenant = "default"


class Listing:
    """An RPC that lists, two on a page; or gets."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.items: list[Wire] = []
        self.calls = 0
        self.sizes: list[int] = []

    async def raw(self, caller: Caller, request: Wire, *, seconds: float) -> bytes:
        self.calls += 1
        self.sizes.append(request["page_size"])
        kind = request.get("filter", "").removeprefix("kind = ")
        found = [each for each in self.items if not kind or each["kind"] == kind]
        start = int(request.get("page_token") or 0)
        token = str(start + 2) if start + 2 < len(found) else ""
        page = {self.field: found[start : start + 2], "next_page_token": token}
        return json.dumps(page).encode()

    def parsed(self, raw: bytes) -> Wire:
        found: Wire = json.loads(raw)
        return found

    async def __call__(self, caller: Caller, request: Wire, *, seconds: float) -> Wire:
        self.calls += 1
        return {"name": request["name"], "timeout_ms": 90_000}


class Place:
    """Services with lists, and who asks them."""

    def __init__(self) -> None:
        self.lists = {
            name: Listing(field)
            for name, field in (
                ("ToolRegistryService/ListTools", "tools"),
                ("ToolRegistryService/GetTool", ""),
                ("AgentService/ListAgents", "agents"),
                ("ResourceService/ListPrompts", "prompts"),
                ("ResourceService/ListResources", "resources"),
                ("ToolRegistryService/CallTool", ""),
                ("ToolRegistryService/StreamCallTool", ""),
            )
        }
        self.tools, self.tool, _, self.prompts, *_ = self.lists.values()
        self.caller = cast("Caller", Who())
        self.services = cast("Services", self.lists)

    def catalog(self, **ttl: timedelta) -> Catalog:
        traffic = Traffic(cast("asyncio.TaskGroup", None), max_requests=1)
        return Catalog(self.services, traffic, McpSettings(**ttl))


async def test_calls_of_tools_that_are_known_have_nothing_listed() -> None:
    place = Place()
    place.tools.items.append({"name": "weather"})
    catalog = place.catalog()

    for _ in range(3):
        await catalog.prepare(place.caller, "weather")
        offer = await catalog.offer(place.caller, "weather")

    assert offer is not None
    assert (place.tools.calls, place.tool.calls) == (1, 0)


async def test_a_tool_that_is_in_no_list_yet_is_asked_for_by_its_name() -> None:
    place = Place()
    catalog = place.catalog()
    await catalog.prepare(place.caller, "new")

    offer = await catalog.offer(place.caller, "new")

    assert offer is not None
    assert offer.seconds == 90
    assert (place.tools.calls, place.tool.calls) == (1, 1)


async def test_an_edge_sees_by_itself_what_was_changed_at_another() -> None:
    place = Place()
    edges = [place.catalog(list_ttl=timedelta(hours=1)) for _ in range(2)]
    before = [await each.fresh(place.caller) for each in edges]

    place.tools.items.append({"name": "weather"})
    held = [await each.fresh(place.caller) for each in edges]
    seen = await edges[0].fresh(place.caller, within=-1)
    other = await edges[1].fresh(place.caller)

    assert held == before
    assert list(seen.offers) == ["weather"]
    assert not other.offers


async def test_headers_of_a_call_are_compared_with_the_list_as_it_is() -> None:
    place = Place()
    city: Wire = {"type": "string", "x-mcp-header": "City"}
    place.tools.items.append({"name": "weather", "input_schema": {"properties": {"city": city}}})
    catalog = place.catalog(list_ttl=timedelta(0), call_ttl=timedelta(hours=1))
    await catalog.prepare(place.caller, "weather")

    place.tools.items[0] = {"name": "weather"}
    await catalog.prepare(place.caller, "weather")

    offer = catalog.at_hand("default", "weather")
    assert offer is not None
    assert not offer.has_headers


async def test_what_is_not_shown_of_a_tool_has_nothing_made_anew() -> None:
    place = Place()
    place.tools.items.append({"name": "weather", "circuit": "CLOSED"})
    catalog = place.catalog(list_ttl=timedelta(0))
    made: list[str] = []
    kept = [await (await catalog.fresh(place.caller)).kept("wire", lambda: made.append("first"))]

    for change in ({"circuit": "OPEN"}, {"unavailable": "its server is away"}):
        place.tools.items[0].update(change)
        snapshot = await catalog.fresh(place.caller)
        kept.append(await snapshot.kept("wire", lambda: made.append("again")))

    assert made == ["first", "again"]


async def test_a_list_is_read_on_however_few_its_pages_show() -> None:
    place = Place()
    place.tools.items += [{"name": f"tool_{number:03}"} for number in range(101)]

    snapshot = await place.catalog().fresh(place.caller)

    assert len(snapshot.offers) == 101


async def test_a_list_that_is_too_large_has_built_in_tools_at_any_rate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages, "MAX_BYTES", 1)
    place = Place()
    place.tools.items += [{"name": name, "kind": "http"} for name in "abcd"]
    place.tools.items += [{"name": "z", "kind": "builtin"}]
    catalog = place.catalog(list_ttl=timedelta(0))

    snapshots = [await catalog.fresh(place.caller) for _ in range(2)]
    left_out = await catalog.offer(place.caller, "d")

    assert [list(each.offers) for each in snapshots] == [["a", "b", "z"]] * 2
    assert left_out is not None
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1


async def test_after_a_page_of_large_tools_fewer_are_asked_for() -> None:
    place = Place()
    place.tools.items += [{"name": name, "description": "x" * 200_000} for name in "abcdef"]

    snapshot = await place.catalog().fresh(place.caller)

    assert list(snapshot.offers) == list("abcdef")
    assert place.tools.sizes == [1_000, 2, 2]


async def test_pages_of_large_tools_end_by_their_bytes() -> None:
    place = Place()
    large = "x" * (PAGE_BYTES // 2)
    place.tools.items += [{"name": name, "description": large} for name in "abc"]
    snapshot = await place.catalog().fresh(place.caller)
    current.set(local_context())
    cursors = Cursors(bytes(32), LIST)
    calls = Calls(cast("Agents", None), cast("Tasks", None), cast("Asking", None))
    tools = Tools(place.services, place.catalog(), cursors, calls)

    shown, cursor = [], None
    for _ in range(3):
        page = tools.page(snapshot, "2026-07-28", cursor)
        shown.append([each["name"] for each in page["tools"]])
        cursor = page.get("nextCursor")

    assert (shown, cursor) == ([["a"], ["b"], ["c"]], None)


async def test_a_change_on_a_page_that_is_not_the_first_is_seen() -> None:
    place = Place()
    place.prompts.items += [{"name": str(number)} for number in range(5)]
    digests = [Digests(place.services, place.catalog()) for _ in range(2)]
    before = await digests[0].of(place.caller, PromptsListChanged)

    place.prompts.items[4] = {"name": "other"}
    after = await digests[1].of(place.caller, PromptsListChanged)

    assert before != after
