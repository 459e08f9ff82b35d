"""`python -m benchmarks.load`: a job on standard input, a report on standard output."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from time import process_time
from typing import Final

import uvloop

from benchmarks.load import (
    appends,
    cancels,
    closed,
    elsewhere,
    fan_out,
    first_token,
    streams,
    tool_calls,
)
from benchmarks.load.job import Job, Report

LONGEST: Final = 300
KINDS: Final[dict[str, Callable[[Job], Awaitable[Report]]]] = {
    "appends": appends.run,
    "closed": closed.run,
    "streams": streams.run,
    "cancels": cancels.run,
    "cancel_elsewhere": elsewhere.cancel,
    "take_over": elsewhere.take_over,
    "fan_out": fan_out.run,
    "first_token": first_token.run,
    "tool_calls": tool_calls.run,
    "validate": tool_calls.validate,
}


async def _run(job: Job) -> Report:
    began = process_time()
    async with asyncio.timeout(LONGEST):
        report = await KINDS[job.kind](job)
    return {**report, "load_cpu_seconds": process_time() - began}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_run(Job(**json.load(sys.stdin))))))
