"""Callers who ask as people do: few questions often, and many seldom."""

import asyncio
import random
import secrets
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from benchmarks.load.closed import Tally
from benchmarks.load.figures import summary_ms
from benchmarks.load.http import Connection, connect, request
from benchmarks.load.job import Job, Report

SEED: Final = 7
CACHED: Final = b'"cached":true'


async def run(job: Job) -> Report:
    """`job.count` requests; the n-th likeliest question is 1/n as likely as the first. Each
    run has questions of its own, which nobody asked before."""
    questions = int(str(job.options["questions"]))
    weights = [1 / rank for rank in range(1, questions + 1)]
    chance, own = random.Random(SEED), secrets.token_hex(4)  # noqa: S311 - the same each time
    drawn = iter(chance.choices(range(questions), weights, k=job.count))
    tally, hits = Tally(job.expect.encode()), [0]
    connections = [await connect(job.address) for _ in range(job.callers)]
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(_caller(job, connection, drawn, own, (tally, hits)))
    return {
        "count": len(tally.latencies),
        "seconds": perf_counter() - began,
        "errors": dict(tally.errors),
        "latency": summary_ms(tally.latencies),
        "hits": hits[0],
    }


async def _caller(
    job: Job, connection: Connection, drawn: Iterator[int], own: str, into: tuple[Tally, list[int]]
) -> None:
    tally, hits = into
    for number in drawn:
        body = {**(job.body or {}), "query": f"{own} {number}: what is that?"}
        answer = await connection.ask(request(job.address, job.path, body))
        tally.add(answer)
        hits[0] += answer.contains(CACHED)
    connection.close()
