"""Batches between protobuf and the domain. Pure, but for the schemas it remembers."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from runplane.inference.v1 import batches_pb2 as pb
from runplane.inference.v1 import inference_pb2

from services.chassis import structs
from services.chassis.errors import InvalidArgument, invalid
from services.chassis.filtering import Fields, written
from services.inference.domain import batch as bt
from services.inference.domain.generation import Usage
from services.inference.domain.request import Priority
from services.inference.mapping import inference as mapping

STATES: Final = {each: pb.BatchState.Value(f"BATCH_STATE_{each.name}") for each in bt.State}
ITEM_STATES: Final = {
    each: pb.BatchItemState.Value(f"BATCH_ITEM_STATE_{each.name}") for each in bt.ItemState
}
FILTERED: Final = Fields(
    {"status", "model", "owner", "create_time", "update_time"},
    ("labels.",),
    {"status": written("BATCH_STATE_", [each.value for each in bt.State])},
)
FILTERED_ITEMS: Final = Fields(
    {"status", "key", "model", "reason"},
    (),
    {"status": written("BATCH_ITEM_STATE_", [each.value for each in bt.ItemState])},
)
_AT_ONCE: Final = 32
"""Items that are read between two turns of the loop, which is others' as well."""
_MESSAGE: Final = re.compile(r"messages\[(\d+)\](.*)", re.DOTALL)


async def items(message: pb.GenerateBatchRequest, schemas: mapping.Schemas) -> list[bt.Item]:
    """What a batch asks for, each with what it shares with the others; one more than are taken,
    where there are too many.

    Raises:
        InvalidArgument: `INVALID_REQUEST`, `SCHEMA_INVALID`, with its place in the batch.
    """
    if message.HasField("response_schema"):
        schemas.compiled(message.response_schema)  # Its own fault, and not the first item's.
    shared, found = mapping.messages(message.messages), []
    for index, each in enumerate(message.items[: bt.MAX_ITEMS + 1]):
        try:
            asked = mapping.request(_whole(message, each), schemas)
        except InvalidArgument as error:
            raise placed(error, index, len(shared)) from None
        # What all begin with is there once, however many they are.
        asked = replace(asked, messages=(*shared, *asked.messages), priority=Priority.BATCH)
        found.append(bt.Item(each.key or str(index), asked))
        if index % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    return found


def placed(error: InvalidArgument, index: int, shared: int) -> InvalidArgument:
    """The same error, saying which item of the batch it is about."""
    faults = [replace(each, field=_place(each.field, index, shared)) for each in error.violations]
    return invalid(*faults, reason=error.reason) if faults else error


def _place(field: str, index: int, shared: int) -> str:
    found = _MESSAGE.fullmatch(field)
    if found is None:
        return f"items[{index}].{field}"
    number = int(found[1])
    if number < shared:
        return field
    return f"items[{index}].messages[{number - shared}]{found[2]}"


def _whole(
    message: pb.GenerateBatchRequest, item: pb.BatchItemRequest
) -> inference_pb2.GenerateRequest:
    """An item with what the batch says for all, but for the start of the conversation."""
    whole = inference_pb2.GenerateRequest(
        model=item.model or message.model,
        messages=item.messages,
        sampling=message.sampling,
        prefix=item.prefix,
    )
    if item.sampling.stop:
        del whole.sampling.stop[:]
    whole.sampling.MergeFrom(item.sampling)
    for each in (item, message):
        if each.HasField("response_schema"):
            whole.response_schema.CopyFrom(each.response_schema)
            break
    return whole


def batch(found: bt.Batch) -> pb.Batch:
    """A batch as it stands."""
    spec, total = found.spec, found.total
    message = pb.Batch(
        batch_id=spec.batch_id,
        status=found.state.value,
        state=STATES[found.state],
        model=spec.model,
        counts=counts(found),
        progress=round((total - found.left) / total, 4),
        usage=mapping.usage(found.usage),
        cost_usd=found.cost_usd,
        owner=spec.owner,
        labels=spec.labels,
        last_sequence=found.sequence,
        reason=found.reason,
    )
    structs.set_time(message.create_time, found.create_time)
    structs.set_time(message.update_time, found.update_time)
    structs.set_time(message.deadline, spec.deadline)
    if found.start_time is not None:
        structs.set_time(message.start_time, found.start_time)
    if found.end_time is not None:
        structs.set_time(message.end_time, found.end_time)
    return message


def counts(found: bt.Batch) -> pb.BatchCounts:
    """How many items there are."""
    by_name = {state.value: number for state, number in found.counts.items()}
    return pb.BatchCounts(total=found.total, **by_name)


def stopped(batch_id: str, index: int, key: str, state: bt.ItemState) -> pb.BatchItem:
    """An item that never ran."""
    return pb.BatchItem(
        batch_id=batch_id, key=key, index=index, status=state.value, state=ITEM_STATES[state]
    )


def item(spec: bt.Spec, key: str, outcome: bt.Outcome, time: datetime) -> pb.BatchItem:
    """An item that has ended."""
    message = stopped(spec.batch_id, outcome.index, key, outcome.state)
    message.text = outcome.text
    message.finish_reason = outcome.finish_reason
    message.attempts = outcome.attempts
    message.cost_usd = outcome.cost_usd
    message.usage.CopyFrom(mapping.usage(outcome.usage))
    if outcome.metrics is not None:
        message.metrics.CopyFrom(mapping.metrics(outcome.metrics))
    if outcome.model:
        message.metadata.model = outcome.model
        message.metadata.model_version = outcome.model_version
        message.metadata.trace_id = spec.trace_id
        structs.set_time(message.metadata.timestamp, time)
    if (failure := outcome.failure) is not None:
        message.error.code = failure.code
        message.error.reason = failure.reason
        message.error.message = failure.message
        message.error.suggested_fix = failure.suggested_fix
    return message


def outcome(message: pb.BatchItem) -> bt.Outcome:
    """How an item ended, as far as it counts for its batch: without what it said."""
    used = message.usage
    return bt.Outcome(
        message.index,
        bt.ItemState(message.status),
        message.attempts,
        usage=Usage(used.prompt_tokens, used.completion_tokens, used.cached_tokens),
        cost_usd=message.cost_usd,
    )


def spec(message: pb.BatchEvent, tenant: str) -> bt.Spec:
    """What a batch was started as."""
    found = message.batch
    return bt.Spec(
        batch_id=found.batch_id,
        tenant=tenant,
        owner=found.owner,
        trace_id=message.trace_id,
        model=found.model,
        labels=dict(found.labels),
        deadline=time_of(found.deadline),
    )


def time_of(stamp: Timestamp) -> datetime:
    """A time."""
    return stamp.ToDatetime(tzinfo=UTC)


def text_of(time: datetime) -> str:
    """A time as lists compare it: of one width, so that times compare as texts."""
    return f"{time.astimezone(UTC).isoformat(timespec='microseconds').removesuffix('+00:00')}Z"
