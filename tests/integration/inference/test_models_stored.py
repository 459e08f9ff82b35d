"""Models as they are stored: beside records that cannot be read, and after they are gone."""

import json
from datetime import UTC, datetime

import pytest

from services.chassis.errors import Internal, NotFound
from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.eventlog.port import Append, NewEvent, Record
from services.inference.adapters.modelstore import CHANGED, RECORD, EventStoreModels
from services.inference.domain.entry import Echo, Entry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BODIES = {
    "no JSON": b"\xff",
    "no object": b"[]",
    "no entry": b"{}",
    "a time that is none": json.dumps(
        {"entry": {"name": "b", "echo": {}}, "owner": "", "revision": 1, "create_time": "soon"}
    ).encode(),
    "an entry of nothing": json.dumps({"entry": {"name": "b"}}).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_model_that_cannot_be_read_hides_no_other(body: bytes) -> None:
    store = MemoryEventStore()
    models = EventStoreModels(store)
    document = {"name": "a", "echo": {}}
    await models.add("t", Entry("a", Echo(), update_time=NOW, document=document), None)
    broken = Record(RECORD, "b", {"is_deleted": False, "sequence": 1}, body)
    events = [NewEvent(CHANGED, NOW, body)]
    await store.append(Append("t", f"{RECORD}/b", 0, events, records=[broken]))

    found = await models.every()
    with pytest.raises(Internal) as corrupt:
        await models.find("t", "b")

    assert [(tenant, wanted.entry.name) for tenant, wanted in found] == [("t", "a")]
    assert (corrupt.value.reason, corrupt.value.metadata["model"]) == ("MODEL_CORRUPT", "b")


async def test_who_wants_a_model_of_theirs_that_is_gone_says_nothing_of_everybodys() -> None:
    models = EventStoreModels(MemoryEventStore())

    with pytest.raises(NotFound) as caught:
        await models.want("t", "a", NOW, is_wanted=False)

    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert await models.wishes() == []


async def test_what_is_wished_of_a_declared_model_is_kept_and_counted() -> None:
    models = EventStoreModels(MemoryEventStore())

    await models.wish("a", NOW, is_wanted=True)
    await models.wish("a", NOW, is_wanted=False)

    assert await models.wishes() == [("a", False, 2)]
