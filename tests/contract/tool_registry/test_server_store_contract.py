"""What holds for registrations of MCP servers, whatever store they are kept in."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.chassis.errors import Aborted, AlreadyExists, NotFound
from services.chassis.eventlog.port import EventStore
from services.chassis.starts import owned
from services.tool_registry.adapters.serverstore import EventStoreServers
from services.tool_registry.domain.server import Server

T = "default"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SERVER = Server("city", "https://mcp.example/mcp", owner="local", create_time=NOW)
CHANGED = replace(SERVER, url="https://mcp.example/v2", tags=("city",))
KEY = owned("mcp_server", "local", "once", "fingerprint")


@pytest.fixture
def servers(events: EventStore) -> EventStoreServers:
    """Registrations on that store."""
    return EventStoreServers(events)


async def test_what_was_added_is_found_as_it_was(servers: EventStoreServers) -> None:
    await servers.add(T, SERVER)

    assert await servers.find(T, "city") == SERVER
    assert await servers.page(T, after="", limit=9) == [SERVER]


async def test_another_tenant_has_servers_of_its_own(servers: EventStoreServers) -> None:
    await servers.add(T, SERVER)
    await servers.add("other", CHANGED)

    assert (await servers.find(T, "city"), await servers.find("other", "city")) == (SERVER, CHANGED)


async def test_a_change_is_found(servers: EventStoreServers) -> None:
    await servers.add(T, SERVER)
    await servers.change(T, SERVER, CHANGED, NOW)

    assert await servers.find(T, "city") == CHANGED


async def test_a_change_of_what_is_not_so_any_more_is_aborted(servers: EventStoreServers) -> None:
    await servers.add(T, SERVER)
    await servers.change(T, SERVER, CHANGED, NOW)
    with pytest.raises(Aborted) as caught:
        await servers.change(T, SERVER, replace(SERVER, tags=("late",)), NOW)

    assert caught.value.reason == "MCP_SERVER_CONFLICT"
    assert await servers.find(T, "city") == CHANGED


async def test_of_changes_at_once_one_is_made(servers: EventStoreServers) -> None:
    await servers.add(T, SERVER)
    wanted = [replace(SERVER, tags=(f"t{number}",)) for number in range(4)]
    ends = await asyncio.gather(
        *(servers.change(T, SERVER, each, NOW) for each in wanted), return_exceptions=True
    )

    made = [each for each, end in zip(wanted, ends, strict=True) if end is None]
    assert [await servers.find(T, "city")] == made


async def test_a_deletion_goes_through_beside_changes(servers: EventStoreServers) -> None:
    await servers.add(T, SERVER)
    await asyncio.gather(
        servers.remove(T, "city", NOW),
        *(servers.change(T, SERVER, CHANGED, NOW) for _ in range(3)),
        return_exceptions=True,
    )

    assert await servers.find(T, "city") is None


async def test_what_is_deleted_is_not_there_and_can_be_added_again(
    servers: EventStoreServers,
) -> None:
    await servers.add(T, SERVER)
    await servers.remove(T, "city", NOW)
    for gone in (servers.remove(T, "city", NOW), servers.remove(T, "never", NOW)):
        with pytest.raises(NotFound):
            await gone
    with pytest.raises(Aborted):
        await servers.change(T, SERVER, CHANGED, NOW)
    await servers.add(T, CHANGED)

    assert await servers.find(T, "city") == CHANGED


async def test_a_namespace_is_taken_once(servers: EventStoreServers) -> None:
    ends = await asyncio.gather(*(servers.add(T, SERVER) for _ in range(3)), return_exceptions=True)

    refused = [end.reason for end in ends if isinstance(end, AlreadyExists)]
    assert refused == ["MCP_SERVER_ALREADY_EXISTS"] * 2


async def test_a_key_stands_for_what_was_added_with_it(
    servers: EventStoreServers, clock: Callable[[], datetime]
) -> None:
    before = await servers.kept(T, KEY)
    await servers.add(T, SERVER, key=KEY)
    with pytest.raises(AlreadyExists) as caught:
        await servers.add(T, replace(SERVER, namespace="other"), key=KEY)
    kept = await servers.kept(T, KEY)

    assert before is None
    assert caught.value.reason == "IDEMPOTENCY_KEY_TAKEN"
    assert kept is not None
    assert (kept.stream_id, kept.fingerprint) == ("city", "fingerprint")
    assert await servers.find(T, "other") is None
