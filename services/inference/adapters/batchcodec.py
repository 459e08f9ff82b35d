"""What happened to a batch, as what is stored and as what is shown."""

from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.message import DecodeError
from runplane.inference.v1 import batches_pb2 as pb

from services.chassis import structs
from services.chassis.errors import Internal
from services.chassis.eventlog.newer import check_known
from services.chassis.eventlog.port import NewEvent, Record, StoredEvent
from services.inference.domain import batch as bt
from services.inference.mapping import batches as mapping

RECORD: Final = "batch"
IS_DELETED: Final = "is_deleted"
CREATED: Final = "batch.created.v1"
NAMES: Final = {
    bt.Created: (CREATED, "batch_created"),
    bt.Started: ("batch.started.v1", "batch_started"),
    bt.ItemEnded: ("batch.item_ended.v1", ""),
    bt.Ended: ("batch.ended.v1", "batch_ended"),
    bt.Deleted: ("batch.deleted.v1", "batch_deleted"),
}
END: Final = NAMES[bt.Ended][1]
_TYPES: Final = frozenset(name for name, _ in NAMES.values())


def items_of(batch_id: str) -> str:
    """The kind of the records that are the items of a batch: their lists are short this way."""
    return f"batch_item/{batch_id}"


def encoded(
    after: bt.Batch, event: bt.Event, keys: Sequence[str], request: bytes = b""
) -> NewEvent:
    """An event that led to this."""
    name, shown = NAMES[type(event)]
    message = pb.BatchEvent(
        type=shown,
        batch_id=after.spec.batch_id,
        sequence=after.sequence,
        counts=mapping.counts(after),
    )
    structs.set_time(message.time, event.time)
    if isinstance(event, bt.ItemEnded):
        outcome = event.outcome
        message.type = f"item_{outcome.state.value}"
        item = mapping.item(after.spec, keys[outcome.index], outcome, event.time)
        message.item.CopyFrom(item)
    elif isinstance(event, bt.Created | bt.Ended):
        message.batch.CopyFrom(mapping.batch(after))
    if isinstance(event, bt.Created):
        message.request.MergeFromString(request)
        message.trace_id = after.spec.trace_id
    return NewEvent(name, event.time, message.SerializeToString())


def event_of(stored: StoredEvent) -> bt.Event:
    """What happened; not how a batch began.

    Raises:
        Unavailable: `WRITTEN_BY_NEWER_VERSION`.
        ValueError: nobody knows.
    """
    check_known(_TYPES, stored.type)
    message = read(stored)
    if stored.type == NAMES[bt.ItemEnded][0]:
        return bt.ItemEnded(stored.time, mapping.outcome(message.item))
    if stored.type == NAMES[bt.Ended][0]:
        state = bt.State(message.batch.status)
        return bt.Ended(stored.time, state, message.batch.reason)
    for kind in (bt.Started, bt.Deleted):
        if stored.type == NAMES[kind][0]:
            return kind(stored.time)
    raise ValueError(f"{stored.type} is not known")


def read(stored: StoredEvent) -> pb.BatchEvent:
    """The message that is stored.

    Raises:
        ValueError: it is none.
    """
    try:
        return pb.BatchEvent.FromString(stored.body)
    except DecodeError:
        raise ValueError("it is no message") from None


def shown(body: bytes) -> bytes:
    """An event as it goes over the wire: without what was asked for."""
    message = pb.BatchEvent.FromString(body)
    message.ClearField("request")
    message.ClearField("trace_id")
    return message.SerializeToString()


def closes(body: bytes) -> bool:
    """Whether a batch has ended with this event, or is not to be seen any more."""
    return pb.BatchEvent.FromString(body).type in {END, NAMES[bt.Deleted][1]}


def record(found: bt.Batch) -> Record:
    """What lists show of a batch."""
    spec, message = found.spec, mapping.batch(found)
    if found.is_deleted:
        return Record(RECORD, spec.batch_id, {IS_DELETED: True}, b"")
    attributes = {
        "status": message.status,
        "model": spec.model,
        "owner": spec.owner,
        "create_time": mapping.text_of(found.create_time),
        "update_time": mapping.text_of(found.update_time),
        **{f"labels.{name}": value for name, value in spec.labels.items()},
    }
    return Record(RECORD, spec.batch_id, attributes, message.SerializeToString())


def item_records(
    before: bt.Batch | None, after: bt.Batch, events: Sequence[bt.Event], keys: Sequence[str]
) -> Iterator[Record]:
    """What lists show of the items that these events have changed."""
    spec = after.spec
    for event in events:
        if isinstance(event, bt.ItemEnded):
            outcome = event.outcome
            key = keys[outcome.index]
            yield _item(mapping.item(spec, key, outcome, event.time), outcome.model)
        elif isinstance(event, bt.Deleted):
            for index in range(after.total):
                yield Record(items_of(spec.batch_id), _name(index), {}, b"")
    if before is None or (after.is_closed and not before.is_closed):
        said = {each.outcome.index for each in events if isinstance(each, bt.ItemEnded)}
        known = (before.ended.keys() if before else set()) | said
        for index, key in enumerate(keys):
            if index not in known:
                state = after.ended.get(index, bt.ItemState.PENDING)
                yield _item(mapping.stopped(spec.batch_id, index, key, state), spec.model)


def corrupt(batch_id: str, sequence: int) -> Internal:
    """Its events are not what was recorded."""
    return Internal(
        "BATCH_CORRUPT",
        f"the log of {batch_id} cannot be read at {sequence}",
        batch_id=batch_id,
        sequence=str(sequence),
    )


def _item(message: pb.BatchItem, model: str) -> Record:
    attributes = {
        "status": message.status,
        "key": message.key,
        "model": model,
        "reason": message.error.reason,
    }
    body = message.SerializeToString()
    return Record(items_of(message.batch_id), _name(message.index), attributes, body)


def _name(index: int) -> str:
    return f"{index:06d}"
