"""Callers who each ask again as soon as they are answered."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from benchmarks.load.figures import summary_ms
from benchmarks.load.http import Answer, Connection, connect, request
from benchmarks.load.job import Job, Report

_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after: *\d", re.IGNORECASE)
_MAX_LOST: Final = 100  # Connections of one caller; then it gives up.


@dataclass(slots=True)
class Tally:
    """What the callers saw."""

    expect: bytes
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        if answer.status == 200 and answer.contains(self.expect):
            self.latencies.append(answer.ended - answer.began)
        elif answer.status == 200:
            self.errors["200 without what was expected"] += 1
        else:
            has_after = _RETRY_AFTER.search(answer.content) is not None
            self.errors[f"{answer.status}{' with Retry-After' if has_after else ''}"] += 1


async def run(job: Job) -> Report:
    """For `job.seconds`, or `job.count` requests in all."""
    raw = request(job.address, job.path, job.body, job.headers)
    tally = Tally(job.expect.encode())
    connections = [await connect(job.address) for _ in range(job.callers)]
    began = perf_counter()
    until = began + job.seconds
    each = -(-job.count // job.callers) if job.count else 0
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(_caller(job.address, connection, raw, tally, (until, each)))
    seconds = perf_counter() - began
    return {
        "count": len(tally.latencies),
        "seconds": seconds,
        "errors": dict(tally.errors),
        "latency": summary_ms(tally.latencies),
    }


async def _caller(
    address: str, connection: Connection, raw: bytes, tally: Tally, bound: tuple[float, int]
) -> None:
    until, count = bound
    asked = lost = 0
    while (asked < count) if count else (perf_counter() < until):
        asked += 1
        try:
            tally.add(await connection.ask(raw))
        except ConnectionError:
            tally.errors["connection lost"] += 1
            lost += 1
            if lost > _MAX_LOST:
                break
            connection = await connect(address)
    connection.close()
