"""Definitions are read and checked once, not each time that a workflow starts."""

from datetime import UTC, datetime

from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import EventStore
from services.workflow.adapters.definitionstore import EventStoreDefinitions
from services.workflow.domain.definition import Definition
from services.workflow.domain.language import made

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def definitions(store: EventStore) -> EventStoreDefinitions:
    """Those of a process that knows none yet."""
    return EventStoreDefinitions(store, lambda: NOW, most=10, most_versions=10)


def definition(*ways: str) -> Definition:
    """One whose first state can be left so."""
    document = {"name": "d", "state_machine": {"first": {"transitions": list(ways)}}}
    found = made(document, field="definition").definition
    assert found is not None
    return found


async def test_the_newest_version_is_made_once() -> None:
    store = MemoryEventStore(now=lambda: NOW)
    await definitions(store).add("default", "local", definition("done"))
    known = definitions(store)

    assert await known.get("default", "d") is await known.get("default", "d")


async def test_a_newer_version_is_seen_at_once() -> None:
    store = MemoryEventStore(now=lambda: NOW)
    await definitions(store).add("default", "local", definition("done"))
    known = definitions(store)
    first = await known.get("default", "d")
    await definitions(store).add("default", "local", definition("done", "other"))

    second = await known.get("default", "d")

    assert (first.version, second.version) == (1, 2)
