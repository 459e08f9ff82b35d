"""Appends to an event store, by so many writers at once, each to streams of its own."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from benchmarks.load.figures import summary_ms
from benchmarks.load.job import Job, Report
from services.chassis.errors import ServiceError
from services.chassis.eventlog.open import event_store
from services.chassis.eventlog.port import Append, EventStore, NewEvent

_BODY: Final = b"x" * 300
_STREAM_EVENTS: Final = 10
_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


async def run(job: Job) -> Report:
    """`job.count` appends of one event to the store at `options.url`."""
    seconds: list[float] = []
    errors: Counter[str] = Counter()
    async with event_store(str(job.options["url"]), service="bench") as store:
        began = perf_counter()
        await asyncio.gather(*(_write(store, n, job, seconds, errors) for n in range(job.callers)))
        took = perf_counter() - began
    return {
        "count": len(seconds),
        "seconds": took,
        "errors": dict(errors),
        "latency": summary_ms(seconds),
    }


async def _write(
    store: EventStore, writer: int, job: Job, seconds: list[float], errors: Counter[str]
) -> None:
    for number in range(job.count // job.callers):
        stream, expected = divmod(number, _STREAM_EVENTS)
        event = NewEvent("bench.happened.v1", _TIME, _BODY)
        name = f"{job.options['name']}_{writer}_{stream}"
        at = perf_counter()
        try:
            await store.append(Append("bench", name, expected, [event]))
        except ServiceError as error:
            errors[error.reason] += 1
        else:
            seconds.append(perf_counter() - at)
