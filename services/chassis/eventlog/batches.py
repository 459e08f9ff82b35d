"""Many appends as the arguments of PostgreSQL's `append_all`. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from services.chassis.eventlog.port import Append, Work
from services.chassis.eventlog.times import micros, span


def arguments(batch: Sequence[Append]) -> list[Any]:
    """The parameters in their order: lists, and how many keys there are."""
    blobs: list[bytes] = []
    events = [event for each in batch for event in each.events]
    claims = [each.claim for each in batch]
    return [
        [each.tenant for each in batch],
        [each.stream_id for each in batch],
        [each.expected for each in batch],
        [claim and claim.owner for claim in claims],
        [claim and claim.epoch for claim in claims],
        [len(each.events) for each in batch],
        [event.type for event in events],
        [micros(event.time) for event in events],
        [event.body for event in events],
        [_beside(each, blobs) for each in batch],
        blobs,
        sum(each.key is not None for each in batch),
    ]


def _beside(append: Append, blobs: list[bytes]) -> str | None:
    def blob(body: bytes) -> int:
        blobs.append(body)
        return len(blobs)

    beside: dict[str, Any] = {}
    if append.snapshot is not None and append.events:
        beside["snapshot"] = blob(append.snapshot)
    if append.answered:
        beside["answered"] = list(append.answered)
    if append.records:
        beside["records"] = [
            {
                "kind": each.kind,
                "id": each.id,
                "attributes": dict(each.attributes),
                "body": blob(each.body),
            }
            for each in append.records
        ]
    if append.outbox:
        beside["outbox"] = [
            {
                "topic": each.topic,
                "key": each.key,
                "value": blob(each.value),
                "headers": dict(each.headers),
            }
            for each in append.outbox
        ]
    if append.tallies:
        beside["tallies"] = [[each.name, *each.amounts] for each in append.tallies]
    if append.spent:
        beside["spent"] = list(append.spent)
    return _json(beside | _starts_and_ends(append))


def _starts_and_ends(append: Append) -> dict[str, Any]:
    beside: dict[str, Any] = {}
    if append.is_done:
        beside["done"] = True
    elif append.work is not None:
        beside["work"] = _work(append.work)
    if (key := append.key) is not None:
        beside["key"] = {
            "scope": key.scope,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "lasts": span(key.lasts),
        }
    return beside


def _work(work: Work) -> dict[str, Any]:
    times = {"lease": span(work.lease), "delay": span(work.delay)}
    shared = {"shared": True} if work.is_shared else {}
    return {"kind": work.kind, "owner": work.owner, **times, **shared}


def _json(beside: dict[str, Any]) -> str | None:
    return json.dumps(beside) if beside else None
