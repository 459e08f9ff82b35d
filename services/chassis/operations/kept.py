"""Operations on an event store: a stream for each, and a record that lists show."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from google.longrunning.operations_pb2 import Operation

from services.chassis.errors import Aborted, FailedPrecondition, NotFound
from services.chassis.eventlog.port import (
    Append,
    Claim,
    Compare,
    EventStore,
    Every,
    NewEvent,
    Query,
    Record,
    Work,
)

KIND: Final = "operation"
PREFIX: Final = "operations/"
# A stored name is for ever.
STARTED: Final = "operation.started.v1"  # The order and the operation, as JSON.
ENDED: Final = "operation.ended.v1"  # The operation.
DELETED: Final = "operation.deleted.v1"  # Nothing.
_IS_THERE: Final = Compare("is_deleted", "=", False)
_RUNS: Final = Every((_IS_THERE, Compare("is_done", "=", False)))


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done, and for whom."""

    kind: str
    """Which handler does it, such as `model.load`."""
    target: str
    """What it is done to."""
    tenant: str
    subject: str
    trace_id: str


class Kept:
    """Reads and writes operations."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, tenant: str, name: str) -> Operation:
        """An operation, by its name.

        Raises:
            NotFound: `OPERATION_NOT_FOUND`.
        """
        found = await self._record(tenant, name)
        if found is None or found.attributes["is_deleted"]:
            raise _missing(name)
        return Operation.FromString(found.body)

    async def page(self, tenant: str, *, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """Operations, the newest first."""
        query = Query(tenant, KIND, _IS_THERE, after, limit)
        return [(found.id, found.body) for found in await self._store.records(query)]

    async def running(self, tenant: str, most: int) -> int:
        """How many are not done; as many as `most` at any rate."""
        return len(await self._store.records(Query(tenant, KIND, _RUNS, limit=most)))

    async def begin(
        self, order: Order, operation: Operation, work: Work, now: datetime
    ) -> Claim | None:
        """Keep a new operation; who has it then."""
        raw = base64.b64encode(operation.SerializeToString()).decode()
        said = {
            "kind": order.kind,
            "target": order.target,
            "subject": order.subject,
            "trace_id": order.trace_id,
            "operation": raw,
        }
        event = NewEvent(STARTED, now, json.dumps(said).encode())
        record = _listed(operation)
        stream = _stream(operation.name)
        return await self._store.append(
            Append(order.tenant, stream, 0, [event], work=work, records=[record])
        )

    async def order(self, claim: Claim) -> tuple[Order, Operation]:
        """What a claimed stream is about."""
        page = await self._store.read(claim.tenant, claim.stream_id, limit=1)
        said = json.loads(page[0].body)
        order = Order(said["kind"], said["target"], claim.tenant, said["subject"], said["trace_id"])
        return order, Operation.FromString(base64.b64decode(said["operation"]))

    async def end(self, claim: Claim, operation: Operation, now: datetime) -> None:
        """Keep an outcome, under the claim of whoever did the work.

        Raises:
            Aborted: somebody else has it now.
        """
        event = NewEvent(ENDED, now, operation.SerializeToString())
        await self._store.append(
            Append(
                claim.tenant,
                claim.stream_id,
                1,
                [event],
                claim=claim,
                is_done=True,
                records=[_listed(operation)],
            )
        )

    async def delete(self, tenant: str, name: str, now: datetime) -> None:
        """Let there be no such operation any more.

        Raises:
            NotFound: `OPERATION_NOT_FOUND`.
            FailedPrecondition: `OPERATION_RUNNING`.
        """
        operation = await self.find(tenant, name)
        if not operation.done:
            raise FailedPrecondition(
                "OPERATION_RUNNING",
                f"{name} is not done",
                operation=name,
                suggested_fix=f"cancel it first: POST /v1/{name}:cancel",
            )
        record = _listed(operation, is_deleted=True)
        batch = Append(tenant, _stream(name), 2, [NewEvent(DELETED, now, b"")], records=[record])
        try:
            await self._store.append(batch)
        except Aborted:  # Somebody else was first.
            raise _missing(name) from None

    async def send_cancel(self, tenant: str, name: str) -> str | None:
        """Ask whoever works on it to stop; the owner to wake, None if it is done."""
        return await self._store.send(tenant, _stream(name), "cancel", b"")

    async def _record(self, tenant: str, name: str) -> Record | None:
        if not name.startswith(PREFIX):
            return None
        return await self._store.record(tenant, KIND, name.removeprefix(PREFIX))


def _listed(operation: Operation, *, is_deleted: bool = False) -> Record:
    attributes: Mapping[str, bool] = {"is_done": operation.done, "is_deleted": is_deleted}
    body = b"" if is_deleted else operation.SerializeToString()
    return Record(KIND, operation.name.removeprefix(PREFIX), attributes, body)


def _stream(name: str) -> str:
    return f"{KIND}/{name.removeprefix(PREFIX)}"


def _missing(name: str) -> NotFound:
    return NotFound(
        "OPERATION_NOT_FOUND",
        f"there is no operation {name[:128]!r}",
        operation=name[:128],
        field="name",
        suggested_fix="GET /v1/operations lists them",
    )
