"""Records histories of batches from the real log; leaves alone what is there.

`python -m tests.histories.batches`
"""

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from runplane.inference.v1 import batches_pb2 as pb
from runplane.type.v1 import content_pb2

from services.chassis.eventlog.memory import MemoryEventStore
from services.chassis.hotstore.memory import MemoryHotStore
from services.inference.adapters.batchlog import EventStoreBatches
from services.inference.domain import batch as bt
from services.inference.domain.batch import ItemState, Outcome, State
from services.inference.domain.generation import Metrics, Usage
from services.inference.mapping import batches as mapping
from services.inference.mapping.inference import Schemas

FOLDER: Final = Path(__file__).parent
NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPEC: Final = bt.Spec(
    "batch_1", "default", "local", "ab" * 16, "echo", {"of": "history"}, NOW + timedelta(days=1)
)
DONE: Final = bt.ItemEnded(
    NOW,
    Outcome(
        1,
        ItemState.COMPLETED,
        2,
        text="two",
        finish_reason="stop",
        usage=Usage(5, 1, 2),
        cost_usd=0.25,
        metrics=Metrics(12.0, 3.0, 1.0, 100.0),
        model="echo",
        model_version="1",
    ),
)
FAILED: Final = bt.ItemEnded(
    NOW,
    Outcome(0, ItemState.FAILED, 3, failure=bt.Failure("UNAVAILABLE", "ENGINE_FAILED", "it died")),
)
CUT: Final = bt.ItemEnded(
    NOW, Outcome(0, ItemState.CANCELED, 1, text="on", usage=Usage(4, 1), model="echo")
)
HISTORIES: Final[dict[str, Sequence[bt.Event]]] = {
    "batch_completed": [bt.Started(NOW), DONE, FAILED, bt.Ended(NOW, State.COMPLETED)],
    "batch_canceled": [bt.Started(NOW), CUT, bt.Ended(NOW, State.CANCELED, "enough")],
    "batch_expired": [bt.Ended(NOW, State.EXPIRED)],
    "batch_deleted": [bt.Ended(NOW, State.CANCELED), bt.Deleted(NOW)],
}


def summary(batch: bt.Batch) -> dict[str, Any]:
    """What the events of a batch add up to, as JSON."""
    used = batch.usage
    return {
        "state": batch.state.value,
        "sequence": batch.sequence,
        "counts": {state.value: number for state, number in batch.counts.items()},
        "usage": [used.prompt_tokens, used.completion_tokens, used.cached_tokens],
        "cost_usd": batch.cost_usd,
        "reason": batch.reason,
        "is_deleted": batch.is_deleted,
    }


async def recorded(events: Sequence[bt.Event]) -> dict[str, Any]:
    """A history of a batch of two items to which this happened."""
    store = MemoryEventStore()
    log = EventStoreBatches(store, MemoryHotStore(), Schemas())
    request = pb.GenerateBatchRequest(
        items=[
            pb.BatchItemRequest(messages=[content_pb2.Message(role="user", content="one")]),
            pb.BatchItemRequest(
                key="b", messages=[content_pb2.Message(role="user", content="two")]
            ),
        ],
        messages=[content_pb2.Message(role="system", content="be brief")],
    )
    items = await mapping.items(request, Schemas())
    await log.begin(bt.Created(NOW, SPEC, items), request.SerializeToString())
    loaded = await log.append(await log.load(SPEC.tenant, SPEC.batch_id), events)
    stored = await store.read(SPEC.tenant, SPEC.batch_id)
    return {
        "events": [
            {
                "type": event.type,
                "time": event.time.isoformat(),
                "body": base64.b64encode(event.body).decode(),
            }
            for event in stored
        ],
        "adds_up_to": summary(loaded.batch),
    }


async def main() -> None:
    """Write those that are not there."""
    for name, events in HISTORIES.items():
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(await recorded(events), indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
