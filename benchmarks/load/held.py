"""Streams that are open and still, and what each of them takes of the memory of processes."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from time import perf_counter
from typing import Final, cast

import psutil

from benchmarks.load.http import Connection, connect, request
from benchmarks.load.job import Job, Report

START: Final = b"event: task_start"
FIRST: Final = 32
"""What these take is of the processes, not of the streams."""
_AT_ONCE: Final = 32


async def run(job: Job) -> Report:
    """Open `job.count` streams, and hold them all; `options` has the processes' `pids` by name."""
    raw = request(job.address, job.path, job.body)
    pids = cast("Mapping[str, int]", job.options["pids"])
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    with ExitStack() as stack:
        await _open(job.address, raw, FIRST, stack)
        before, began = _memory(processes), perf_counter()
        await _open(job.address, raw, job.count, stack)
        seconds, after = perf_counter() - began, _memory(processes)
    each = {name: (after[name] - before[name]) / job.count for name in after}
    return {"count": job.count, "seconds": seconds, "errors": {}, "bytes_each": each}


async def _open(address: str, raw: bytes, count: int, stack: ExitStack) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def opened() -> Connection:
        async with gate:
            connection = await connect(address)
            await connection.begin(raw, (START,)).seen(1)
            return connection

    for connection in await asyncio.gather(*(opened() for _ in range(count))):
        stack.callback(connection.close)


def _memory(processes: Mapping[str, psutil.Process]) -> dict[str, int]:
    return {name: process.memory_info().rss for name, process in processes.items()}
