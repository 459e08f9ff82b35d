"""Every batch that was ever stored can still be read."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import NotFound
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, NewEvent
from services.chassis.hotstore.memory import MemoryHotStore
from services.inference.adapters.batchcodec import NAMES
from services.inference.adapters.batchlog import EventStoreBatches
from services.inference.mapping.inference import Schemas
from tests.histories.batches import summary

FOLDER = Path(__file__).parents[2] / "histories"
HISTORIES: dict[str, Any] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("batch_*.json"))
}


async def log_of(history: dict[str, Any]) -> EventStoreBatches:
    """A log that holds what was stored."""
    store = MemoryEventStore()
    events = [
        NewEvent(each["type"], datetime.fromisoformat(each["time"]), base64.b64decode(each["body"]))
        for each in history["events"]
    ]
    await store.append(Append("default", "batch_1", 0, events))
    return EventStoreBatches(store, MemoryHotStore(), Schemas())


@pytest.mark.parametrize("name", [name for name in HISTORIES if name != "batch_deleted"])
async def test_a_recorded_batch_adds_up_to_what_it_did(name: str) -> None:
    log = await log_of(HISTORIES[name])

    loaded = await log.load("default", "batch_1")

    assert summary(loaded.batch) == HISTORIES[name]["adds_up_to"]
    assert [item.key for item in loaded.items] == ["0", "b"]
    assert [[each.content for each in item.request.messages] for item in loaded.items] == [
        ["be brief", "one"],
        ["be brief", "two"],
    ]


async def test_a_recorded_batch_that_was_deleted_stays_so() -> None:
    log = await log_of(HISTORIES["batch_deleted"])

    with pytest.raises(NotFound) as gone:
        await log.load("default", "batch_1")

    assert gone.value.reason == "BATCH_NOT_FOUND"


def test_every_event_that_can_be_stored_is_in_a_history() -> None:
    recorded = {event["type"] for each in HISTORIES.values() for event in each["events"]}

    assert recorded == {name for name, _ in NAMES.values()}
